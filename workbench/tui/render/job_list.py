"""Jobs: one line each, or one in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from store.job_curves import POINT, curves
from store.job_memory import JobMemory
from store.jobs import Job, JobEvent
from workbench.tui.render.bars import bar, duration, percent
from workbench.tui.render.document import value_text
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import fit, show_text
from workbench.tui.render.training import curves as curve_view

_BAR_CELLS = 10
_CURVE_COLUMNS = 80
_NOT_KNOWN = JobMemory()
_STATE_GLYPH = {
    "queued": "…", "running": "▶", "cancelling": "◼", "succeeded": "✓", "failed": "✗", "cancelled": "–",
    "interrupted": "!",
}  # fmt: skip


def job_table(jobs: Sequence[Job]) -> Table:
    """One line a job: id, kind, state, how far, how long, and the line it ended with."""
    table = plain_table("job", "kind", "state", "done", "took", "note")
    for job in jobs:
        took = duration(job.elapsed_s) if job.elapsed_s is not None else ""
        note = job.error or (job.note if job.finished_at is None else "")
        cells = (str(job.id), job.kind, job.state, percent(job.progress, 0), took, show_text(note))
        table.add_row(*map(Text, cells))
    return table


def job_line(job: Job, stages: Sequence[Mapping[str, Any]], left_s: float | None, width: int) -> Text:
    """One job in one line: `12 trace running ██▌   52 % 3.1 s left · attribution 512/1024 rows`, or how it ended."""
    line = Text(f"{job.id:>5}  {job.kind:<10} {_STATE_GLYPH[job.state]} {job.state:<12}", no_wrap=True)
    if job.state in ("running", "cancelling"):
        done = _done(stages[0]) if stages else job.progress
        line.append(f"{bar(done, _BAR_CELLS)} {percent(done, 0):>5}", style="green")
        line.append("" if left_s is None else f"  {duration(left_s)} left")
        words = " · ".join(_stage_words(stage) for stage in stages) or show_text(job.note)
    else:
        line.append(f"{duration(job.elapsed_s) if job.elapsed_s is not None else '':>12}")
        words = show_text(job.error or "")
    room = width - line.cell_len - 2
    if words and room > 3:
        line.append("  " + fit(words, room), style="dim")
    return line


def _done(stage: Mapping[str, Any]) -> float:
    return stage["done"] / stage["total"] if stage["total"] else 0.0


def _stage_words(stage: Mapping[str, Any]) -> str:
    return f"{show_text(stage['label'])} {stage['done']:g}/{stage['total']:g} {show_text(stage['unit'])}"


def job_view(job: Job, events: Sequence[JobEvent], memory: JobMemory = _NOT_KNOWN) -> Group:
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
            "memory expected": _size(memory.estimated_bytes) or _without_formula(memory),
            "memory taken": _size(memory.peak_bytes),
            "memory taken on the GPU": _size(memory.device_peak_bytes),
        }
    )
    happened = plain_table("at", "event", "text")
    for event in (event for event in events if event.kind != POINT):
        happened.add_row(Text(event.at), Text(event.kind), Text(show_text(event.text)))
    drawn = [Text("\n").append_text(curve) for curve in job_curves(events, _CURVE_COLUMNS)]
    params = (Text("\nparams", style="dim"), facts(job.params))
    return Group(about, *drawn, *params, Text("\nevents", style="dim"), happened)


def job_curves(events: Sequence[JobEvent], width: int) -> list[Text]:
    """The curves that a job has drawn so far, the one that moved last at the end."""
    return [curve_view(name, curve, width) for name, curve in curves(events).items() if curve.get("tokens")]


def _without_formula(memory: JobMemory) -> str | None:
    """Said in place of an estimate once a job without one has used the model."""
    return None if memory.peak_bytes is None else "nobody knows: there is no formula for this kind"


def _size(n_bytes: int | None) -> str | None:
    """Bytes beside the loaded model, as `document_view` writes them."""
    return None if n_bytes is None else value_text("_bytes", n_bytes)
