"""`workbench graph diff`: two graphs of a project side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view, stdout_console

if TYPE_CHECKING:
    from store.project import Project
    from tasks.graphs.diff import Side


def diff(
    ctx: typer.Context,
    a: Annotated[int, typer.Argument(help="The first graph's id.", metavar="A")],
    b: Annotated[int, typer.Argument(help="The second graph's id.", metavar="B")],
    grouped: Annotated[bool, typer.Option("--grouped", help="Compare supernodes, by name, for their members.")] = False,
    top: Annotated[int, typer.Option(help="Features listed a section.", min=1)] = 12,
    edges: Annotated[int, typer.Option(help="Edges listed in --json.", min=0)] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """What two graphs share and what changed: aligned by layer, feature and offset from the end of the prompt."""
    from tasks.graphs.diff import diff as compare
    from workbench.tui.render.graph_diff import diff_view

    with open_project(ctx) as project:
        found = compare(_side(project, a, grouped), _side(project, b, grouped), edges)
    if json:
        emit_json(found.document())
    else:
        emit_view(diff_view(found, stdout_console().width, top))


def _side(project: Project, graph: int, together: bool) -> Side:
    from store import graphs
    from tasks.graphs.diff import Side
    from tasks.graphs.supernodes import grouped
    from tasks.graphs.view import load_graph_view

    view = load_graph_view(project, graph)
    return Side(
        graphs.find(project.db, graph),
        grouped(view, graphs.supernodes(project.db, graph)) if together else view,
    )
