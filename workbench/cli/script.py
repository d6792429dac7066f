"""`workbench script`: the project's session as a program that calls the same tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench import VERSION
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def script(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where it goes: *.py or *.ipynb.", metavar="FILE")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Write the session of this project, every finished job in order, as a Python program or a notebook."""
    from store import jobs
    from tasks.packs.session import session_steps, write_session
    from workbench.tui.render.document import document_view

    with open_project(ctx) as project:
        finished = [job for job in jobs.listing(project.db, limit=100_000) if job.state == "succeeded"]
        steps = session_steps(finished)
        write_session(file, steps, project.model, VERSION)
    document = {"file": str(file), "steps": len(steps)}
    if json:
        emit_json(document)
    else:
        emit_view(document_view(document))
