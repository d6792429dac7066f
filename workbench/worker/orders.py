"""What is ordered of a project's worker, by the command line and the app: jobs to run, to end, to repeat, to move.

Without a worker the job table itself is changed: it is the truth, and the next worker reads it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import BadInput, Missing

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


def cancel(directory: Path, job_id: int) -> str:
    """Ask a job to stop; its state now.

    Without a worker a queued job is taken back. Raises `BadInput` for one that runs: only its own terminal can
    end that one.
    """
    from store import jobs
    from store.project import Project
    from workbench.worker.client import WorkerClient

    client = WorkerClient.connect(directory)
    if client is not None:
        with client:
            return str(client.ask("cancel", job=job_id)["state"])
    with Project.open(directory, write=True, work=False) as project:
        job = jobs.show(project.db, job_id)
        if job.state in ("running", "cancelling"):
            fault = f"job {job_id} is not a worker's: process {job.pid} on {job.host} runs it, or died with it"
            raise BadInput(fault, "press Ctrl-C where it runs; if it is gone, the next command that works says so")
        return jobs.ask_cancel(project.db, job_id)


def retry(directory: Path, job_id: int) -> int:
    """Queue an ended job once more, under a new id, which is returned; a training goes on from its last checkpoint."""
    from store import jobs
    from store.project import Project
    from workbench.worker.client import WorkerClient

    client = WorkerClient.connect(directory)
    if client is not None:
        with client:
            return int(client.ask("submit", retry=job_id)["job"])
    with Project.open(directory, write=True, work=False) as project:
        return jobs.retry(project.db, job_id)


def move(directory: Path, job_id: int, after: int | None = None) -> list[int]:
    """Have a queued job taken right after another one, or first; the queue's order now."""
    from store import jobs
    from store.project import Project
    from workbench.worker.client import WorkerClient

    client = WorkerClient.connect(directory)
    if client is not None:
        with client:
            return list(client.ask("reprioritise", job=job_id, after=after)["queue"])
    with Project.open(directory, write=True, work=False) as project:
        return jobs.move(project.db, job_id, after)


def _journal_is_shared(directory: Path) -> bool:
    """Whether several processes may write to the project's database at a time: not on a network file system."""
    from store.project import Project

    with Project.open(directory, write=False) as project:
        return bool(project.db.execute("PRAGMA journal_mode").fetchone()[0] == "wal")
