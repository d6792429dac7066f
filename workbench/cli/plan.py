"""`workbench plan`: what training on a model will take, before anything is loaded or downloaded."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from tasks.plan import Params
from workbench.cli.output import emit_json, emit_view
from workbench.cli.task_command import checked_params, keyword, parameters


def plan(json: bool, **values: Any) -> None:
    """Parameters, memory, disk, FLOPs and hours of training SAEs on any model. Needs no project and no weights."""
    from tasks.plan import document
    from workbench.tui.render.plan import plan_view

    found = document(Params(**checked_params(Params, values, "plan").model_dump()))
    if json:
        emit_json(found)
    else:
        emit_view(plan_view(found))


_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
plan.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*parameters(Params), keyword("json", _JSON, False)]
)
plan.__annotations__ = {name: p.annotation for name, p in inspect.signature(plan).parameters.items()}
app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command()(plan)
