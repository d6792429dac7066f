"""`workbench open`: the app, on the project that is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.errors import Missing
from store.location import locate, named_by_variable
from workbench.cli.invocation import Invocation

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="The app.")


@app.command()
def open_app(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Only show what another terminal's app shows.")] = False,
    low_bandwidth: Annotated[bool, typer.Option("--low-bandwidth", help="No animation, fewer frames.")] = False,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Start a worker if none runs.")] = True,
) -> None:
    """The app: baselines, features, graphs, interventions and jobs of a project in one terminal."""
    raise typer.Exit(open_meant(ctx, follow, low_bandwidth, worker))


def open_meant(ctx: typer.Context, follow: bool = False, low_bandwidth: bool = False, worker: bool = True) -> int:
    """Run the app on the project that the command line means; its exit code."""
    from workbench.tui.launch import launch

    return launch(_project_or_none(ctx), follow, low_bandwidth, worker)


def _project_or_none(ctx: typer.Context) -> Path | None:
    """The project that is meant; None if none is named and none is here, so that the app can help to make one."""
    invocation: Invocation = ctx.obj
    try:
        return locate(invocation.project)
    except Missing:
        if invocation.project is not None or named_by_variable() is not None:
            raise
        return None
