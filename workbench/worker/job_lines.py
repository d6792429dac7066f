"""The lines that subscribers hear of jobs. Each says enough of its job for a line in a live list: see `about`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from store import jobs
from workbench.worker.status import seconds_left, seconds_since

if TYPE_CHECKING:
    from store.jobs import Job
    from workbench.worker.supervisor import Supervisor


def event_lines(worker: Supervisor, after: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(event id, job id, line) of all that happened since the event with id `after`, and how each job stands now."""
    known: dict[int, dict[str, Any]] = {}
    for event_id, job_id, event in jobs.news(worker.project.db, after):
        if job_id not in known:
            known[job_id] = about(worker, job_id)
        yield event_id, job_id, {"event": {"id": event_id, "job": job_id, **asdict(event)}, "about": known[job_id]}


def started_line(worker: Supervisor, job_id: int) -> dict[str, Any]:
    """The child has begun with a job."""
    return {"started": True, "job": job_id, "about": about(worker, job_id)}


def progress_line(worker: Supervisor, job_id: int) -> dict[str, Any]:
    """The open stages of the running job, and how it stands."""
    return {"progress": worker.stages, "job": job_id, "about": about(worker, job_id)}


def note_line(job_id: int, note: str) -> dict[str, Any]:
    """A line of a job's narration."""
    return {"note": note, "job": job_id}


def about(worker: Supervisor, job_id: int) -> dict[str, Any]:
    """One job for a live list: `job`, `kind`, `state`, `progress` (0 to 1), `label` (the stage it is in), `left_s`.

    `left_s` is how many seconds it may still take; None of a job that does not run, or if nothing tells.
    """
    job = jobs.show(worker.project.db, job_id)
    progress, label = job.progress, job.note if job.finished_at is None else job.error or ""
    if job_id == worker.running and worker.stages and job.finished_at is None:
        progress, label = _of_stages(worker), worker.stages[-1]["label"]
    left_s = seconds_left(worker.project.db, job, progress, _elapsed_s(job)) if job.state == "running" else None
    return {"job": job.id, "kind": job.kind, "state": job.state, "progress": progress, "label": label, "left_s": left_s}


def _of_stages(worker: Supervisor) -> float:
    """How far the outermost stage is, which counts what the row may not say yet."""
    outermost = worker.stages[0]
    return min(max(outermost["done"] / outermost["total"], 0.0), 1.0) if outermost["total"] else 0.0


def _elapsed_s(job: Job) -> float:
    return seconds_since(job.started_at)
