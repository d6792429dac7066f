"""`workbench findings`: the numbers that were kept, each with where it comes from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="The findings that were kept.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
FindingArgument = Annotated[int, typer.Argument(help="The finding's id.", metavar="FINDING")]


@app.command("list")
def list_findings(ctx: typer.Context, json: JsonOption = False) -> None:
    """Every finding, newest first."""
    from store import findings
    from workbench.tui.render.findings import finding_table

    with open_project(ctx) as project:
        rows = findings.listing(project.db)
    if json:
        emit_json({"findings": [asdict(row) for row in rows]})
    else:
        emit_view(finding_table(rows))


@app.command()
def add(
    ctx: typer.Context, text: Annotated[str, typer.Argument(help="What was found.")], json: JsonOption = False
) -> None:
    """Keep a finding in words."""
    from store import findings

    with open_project(ctx, write=True, work=False) as project, project.transaction():
        finding = findings.add(project.db, text, {})
    if json:
        emit_json({"finding": finding})
    else:
        print(finding)


@app.command()
def remove(ctx: typer.Context, finding: FindingArgument) -> None:
    """Strike a finding."""
    from store import findings

    with open_project(ctx, write=True, work=False) as project, project.transaction():
        findings.remove(project.db, finding)
