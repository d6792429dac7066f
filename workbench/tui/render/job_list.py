"""Jobs: one line each, or one in full."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from store.jobs import Job, JobEvent
from workbench.tui.render.bars import duration, percent
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text


def job_table(jobs: Sequence[Job]) -> Table:
    """One line a job: id, kind, state, how far, how long, and the line it ended with."""
    table = plain_table("job", "kind", "state", "done", "took", "note")
    for job in jobs:
        took = duration(job.elapsed_s) if job.elapsed_s is not None else ""
        note = job.error or (job.note if job.finished_at is None else "")
        cells = (str(job.id), job.kind, job.state, percent(job.progress, 0), took, show_text(note))
        table.add_row(*map(Text, cells))
    return table


def job_view(job: Job, events: Sequence[JobEvent]) -> Group:
    """Everything the project knows of one job but its result document."""
    about = facts(
        {
            "job": job.id,
            "kind": job.kind,
            "state": job.state,
            "error": job.error,
            "started": job.started_at,
            "finished": job.finished_at,
            "wall time": duration(job.elapsed_s) if job.elapsed_s is not None else None,
            "processor time": duration(job.cpu_s) if job.cpu_s is not None else None,
        }
    )
    happened = plain_table("at", "event", "text")
    for event in events:
        happened.add_row(Text(event.at), Text(event.kind), Text(show_text(event.text)))
    return Group(about, Text("\nparams", style="dim"), facts(job.params), Text("\nevents", style="dim"), happened)
