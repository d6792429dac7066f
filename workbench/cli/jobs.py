"""`workbench jobs`: what was run in this project, how far it is, how it ended."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="What was run in this project, and how it ended.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(help="How many of the latest jobs.", min=1)] = 50,
    json: JsonOption = False,
) -> None:
    """The latest jobs, newest first."""
    from store import jobs
    from workbench.tui.render.job_list import job_table

    with open_project(ctx) as project:
        rows = jobs.listing(project.db, limit)
    if json:
        keys = ("id", "kind", "state", "progress", "note", "created_at", "elapsed_s", "cpu_s", "error")
        emit_json({"jobs": [{key: getattr(job, key) for key in keys} for job in rows]})
    else:
        emit_view(job_table(rows))


@app.command("show")
def show_job(
    ctx: typer.Context,
    job: Annotated[int, typer.Argument(help="The job's id.", metavar="JOB")],
    json: JsonOption = False,
) -> None:
    """One job: its params, how it ended, what happened on the way."""
    from store import jobs
    from workbench.tui.render.job_list import job_view

    with open_project(ctx) as project:
        row = jobs.show(project.db, job)
        events = [event for _, event in jobs.events(project.db, job)]
    if json:
        emit_json(asdict(row) | {"events": [asdict(event) for event in events]})
    else:
        emit_view(job_view(row, events))
