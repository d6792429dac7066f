"""What jobs were expected to take of memory, and what they took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(frozen=True)
class JobMemory:
    """Bytes that one job took beyond what its process held once the model was loaded; None where nobody knows."""

    estimated_bytes: int | None = None
    """Before the work began; None for a kind of job without a formula."""
    peak_bytes: int | None = None
    """Of the host's memory."""
    device_peak_bytes: int | None = None
    """Of a GPU's memory."""


def expect(db: Database, job_id: int, estimated_bytes: int | None) -> None:
    """Write what a job that begins now is expected to take."""
    db.execute(
        "INSERT INTO job_memory (job_id, estimated_bytes) VALUES (?, ?)"
        " ON CONFLICT (job_id) DO UPDATE SET estimated_bytes = excluded.estimated_bytes",
        [job_id, estimated_bytes],
    )


def took(db: Database, job_id: int, peak_bytes: int | None, device_peak_bytes: int | None) -> None:
    """Write what it took, beside the estimate."""
    sql = "UPDATE job_memory SET peak_bytes = ?, device_peak_bytes = ? WHERE job_id = ?"
    db.execute(sql, [peak_bytes, device_peak_bytes, job_id])


def memory_of(db: Database, job_id: int) -> JobMemory:
    """What is known of one job; nothing of one that has loaded no model."""
    sql = "SELECT estimated_bytes, peak_bytes, device_peak_bytes FROM job_memory WHERE job_id = ?"
    row = db.execute(sql, [job_id]).fetchone()
    return JobMemory() if row is None else JobMemory(*row)
