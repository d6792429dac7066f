"""`workbench jobs`: what was run in this project, how far it is, how it ended; and how to end or repeat it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated

import typer

from store.errors import BadInput
from workbench.cli.invocation import open_project, project_directory
from workbench.cli.output import emit_job_id, emit_json, emit_view, narrate

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
    from store.job_memory import memory_of
    from workbench.tui.render.job_list import job_view

    with open_project(ctx) as project:
        row = jobs.show(project.db, job)
        events = [event for _, event in jobs.events(project.db, job)]
        memory = memory_of(project.db, job)
    if json:
        emit_json(asdict(row) | {"memory": asdict(memory), "events": [asdict(event) for event in events]})
    else:
        emit_view(job_view(row, events, memory))


@app.command("cancel")
def cancel_job(
    ctx: typer.Context,
    job: Annotated[int, typer.Argument(help="The job's id.", metavar="JOB")],
    json: JsonOption = False,
) -> None:
    """Stop a job: a queued one at once, a running one after its step, and harder if it does not stop."""
    from workbench.worker import orders

    state = orders.cancel(project_directory(ctx), job)
    if json:
        emit_json({"job": job, "state": state})
    else:
        print(state)


@app.command("retry")
def retry_job(
    ctx: typer.Context,
    job: Annotated[int, typer.Argument(help="The job's id.", metavar="JOB")],
    json: JsonOption = False,
) -> None:
    """Queue an ended job once more, under a new id; a training goes on from its last checkpoint."""
    from workbench.cli.background import tell_queued
    from workbench.worker import orders
    from workbench.worker.client import WorkerClient

    directory = project_directory(ctx)
    job_id = orders.retry(directory, job)
    emit_job_id(job_id, json)
    with WorkerClient.connect(directory) or nullcontext() as client:
        tell_queued(directory, job_id, client)


@app.command("move")
def move_job(
    ctx: typer.Context,
    job: Annotated[int, typer.Argument(help="The job's id.", metavar="JOB")],
    first: Annotated[bool, typer.Option("--first", help="Take it before all others that wait.")] = False,
    after: Annotated[int | None, typer.Option(help="Take it right after this queued job.", metavar="OTHER")] = None,
    json: JsonOption = False,
) -> None:
    """Change when a queued job is taken."""
    from workbench.worker import orders

    if first == (after is not None):
        raise BadInput("say where to: one of --first and --after OTHER", f"`workbench jobs move {job} --first`")
    order = orders.move(project_directory(ctx), job, after)
    if json:
        emit_json({"queue": order})
    else:
        narrate(f"taken in this order: {', '.join(map(str, order))}")
