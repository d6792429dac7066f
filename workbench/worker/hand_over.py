"""Giving a job to the project's worker, for the command line and the app."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import Missing

if TYPE_CHECKING:
    from tasks.params import Params
    from workbench.worker.client import WorkerClient


def hand_over(directory: Path, kind: str, params: Params, client: WorkerClient | None) -> int:
    """Queue a job, tell the worker if there is one, and return the job's id.

    The row is written here where that is safe; on a network file system only the worker writes.
    """
    from store.project import Project
    from tasks.execute import enqueue

    if client is not None and not _journal_is_shared(directory):
        asked = params.model_dump(mode="json")
        return int(client.ask("submit", kind=kind, params=asked, origin=str(Path.cwd()))["job"])
    with Project.open(directory, write=True, work=False) as project:
        job_id = enqueue(kind, params, project, Path.cwd())
    if client is not None:
        with suppress(Missing):  # the worker has gone meanwhile: the row waits for the next one
            client.ask("submit", job=job_id)
    return job_id


def _journal_is_shared(directory: Path) -> bool:
    """Whether several processes may write to the project's database at a time: not on a network file system."""
    from store.project import Project

    with Project.open(directory, write=False) as project:
        return bool(project.db.execute("PRAGMA journal_mode").fetchone()[0] == "wal")
