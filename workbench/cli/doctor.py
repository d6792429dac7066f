"""`workbench doctor`: what works on this machine, and what would not and why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Device, memory, versions, model cache: what works here, and what would not and why."""
    from tasks.machine import examine
    from workbench.tui.render.machine import machine_table

    findings = examine(Path.cwd())
    if json:
        emit_json({"findings": [asdict(finding) for finding in findings]})
    else:
        emit_view(machine_table(findings))
