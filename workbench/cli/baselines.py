"""`workbench baselines`: what is known of behaviours and prompts, as the app's first pane shows it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view, stdout_console

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="What baselines measured, prompt by prompt.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("list")
def list_baselines(ctx: typer.Context, json: JsonOption = False) -> None:
    """Every behaviour, run or not, with the latest numbers of its prompts."""
    from tasks.baseline_board import board
    from workbench.tui.render.baseline_board import board_view

    with open_project(ctx) as project:
        behaviours = board(project)
    if json:
        emit_json({"behaviours": [behaviour.document() for behaviour in behaviours]})
    else:
        emit_view(board_view(behaviours, stdout_console().width))


@app.command()
def show(
    ctx: typer.Context,
    prompt: Annotated[str, typer.Argument(help="A prompt's name, as capitals/0.", metavar="PROMPT")],
    json: JsonOption = False,
) -> None:
    """One prompt that was run: clean beside corrupt, next tokens, continuation, the surprise of each token."""
    from store import baselines
    from tasks.baseline_board import stored_pair
    from workbench.tui.panes.baselines.reading import read_card
    from workbench.tui.render.prompt_card import prompt_card

    with open_project(ctx) as project:
        pair = stored_pair(baselines.find(project.db, prompt))
        data = read_card(project, pair)
    if json:
        readings = {variant: asdict(each) for variant, each in data.readings.items()}
        emit_json(pair.document() | {"readings": readings})
    else:
        emit_view(prompt_card(pair, data.readings, data.graphs, stdout_console().width))
