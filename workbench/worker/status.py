"""What a worker says of itself, at any moment."""

from __future__ import annotations

import os
import resource
import socket
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import job_memory, jobs
from workbench import VERSION

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.worker.supervisor import Supervisor


def status(worker: Supervisor) -> dict[str, Any]:
    """The status document; times in seconds, memory in bytes, unknown numbers null."""
    children = [] if worker.engine is None else [worker.engine.pid]
    running = None if worker.running is None else _running(worker, worker.running)
    ahead_s = 0.0 if running is None else running["left_s"]
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "version": VERSION,
        "project": str(worker.project.directory),
        "children": children,
        "running": running,
        "queue": _queue(worker.project.db, worker.waits_up_to, ahead_s),
        "paused": [job.id for job in jobs.queue(worker.project.db) if job.id <= worker.waits_up_to],
        "resident": resident(worker),
        "memory": {"host_bytes": sum(map(_resident_bytes, children)), "device_bytes": worker.resident["device_bytes"]},
    }


def resident(worker: Supervisor) -> dict[str, Any]:
    """What is in memory: the model, and the dictionary sets by name with their bytes, the one that goes next first."""
    held = worker.resident
    sets = [{"name": name, "bytes": size} for name, size in held["dictionaries"].items()]
    return {"model": held["model"], "budget_bytes": held["budget_bytes"], "dictionaries": sets}


def seconds_left(db: Database, job: jobs.Job, progress: float, elapsed_s: float) -> float | None:
    """How long a running job may still take, by how far it is, else by what its like took; None if nothing tells."""
    if progress > 0:
        return elapsed_s * (1 - progress) / progress
    usual_s = jobs.usual_seconds(db, job.kind)
    return None if usual_s is None else max(usual_s - elapsed_s, 0.0)


def seconds_since(at: str | None) -> float:
    """The time since a moment in ISO 8601; 0 if there was none."""
    if at is None:
        return 0.0
    since = datetime.fromisoformat(at)
    return max((datetime.now(since.tzinfo) - since).total_seconds(), 0.0)


def _running(worker: Supervisor, job_id: int) -> dict[str, Any]:
    job = jobs.show(worker.project.db, job_id)
    elapsed_s = seconds_since(job.started_at)
    memory = job_memory.memory_of(worker.project.db, job_id)
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "progress": job.progress,
        "note": job.note,
        "stages": list(worker.stages),
        "elapsed_s": elapsed_s,
        "left_s": seconds_left(worker.project.db, job, job.progress, elapsed_s),
        "estimated_bytes": memory.estimated_bytes,
    }


def _queue(db: Database, waits_up_to: int, ahead_s: float | None) -> list[dict[str, Any]]:
    """The jobs that wait, and in how many seconds each should start, by what its like took before."""
    waiting = []
    for position, job in enumerate(jobs.queue(db), start=1):
        paused = job.id <= waits_up_to
        starts_in_s = None if paused else ahead_s
        waiting.append({"id": job.id, "kind": job.kind, "position": position, "starts_in_s": starts_in_s})
        usual_s = jobs.usual_seconds(db, job.kind)
        if not paused:
            ahead_s = None if ahead_s is None or usual_s is None else ahead_s + usual_s
    return waiting


def _resident_bytes(pid: int) -> int:
    """The memory that a process holds; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()
