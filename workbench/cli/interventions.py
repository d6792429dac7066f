"""`workbench interventions`: what was measured, newest first, and one again as it was printed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view, stdout_console

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="What interventions measured in this project.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("list")
def list_interventions(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(help="How many of the latest.", min=1)] = 50,
    json: JsonOption = False,
) -> None:
    """The latest interventions, newest first."""
    from store import interventions
    from workbench.tui.render.intervention_list import intervention_table

    with open_project(ctx) as project:
        records = interventions.listing(project.db, limit)
    if json:
        emit_json({"interventions": [asdict(record) for record in records]})
    else:
        emit_view(intervention_table(records))


@app.command("show")
def show_intervention(
    ctx: typer.Context,
    intervention: Annotated[int, typer.Argument(help="Its id, as `interventions list` prints it.")],
    json: JsonOption = False,
) -> None:
    """One intervention, as `workbench intervene` printed it."""
    from store import interventions
    from workbench.tui.render.intervention import intervention_view

    with open_project(ctx) as project:
        record = interventions.find(project.db, intervention)
        _, document = interventions.document(project.db, record)
    if json:
        emit_json(document)
    else:
        emit_view(intervention_view(document, stdout_console().width))
