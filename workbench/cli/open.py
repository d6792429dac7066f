"""`workbench open`: the app, on the project that is meant."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.invocation import project_directory

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="The app.")


@app.command()
def open_app(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Only show what another terminal's app shows.")] = False,
    low_bandwidth: Annotated[bool, typer.Option("--low-bandwidth", help="No animation, fewer frames.")] = False,
) -> None:
    """The app: baselines, features, graphs, interventions and jobs of a project in one terminal."""
    from workbench.tui.launch import launch

    raise typer.Exit(launch(project_directory(ctx), follow, low_bandwidth))
