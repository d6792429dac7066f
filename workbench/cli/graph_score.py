"""`workbench graph score`: how much of a graph's targets a choice of its features explains."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view


def score(
    ctx: typer.Context,
    graph: Annotated[int, typer.Argument(help="The graph's id.", metavar="GRAPH")],
    nodes: Annotated[
        list[str] | None, typer.Option(help="Score these features: L12/345@7, L12/345, L4-9/*@-1 (repeatable).")
    ] = None,
    supernode: Annotated[list[str] | None, typer.Option(help="Score this supernode's features (repeatable).")] = None,
    kept: Annotated[bool, typer.Option("--kept", help="Score what pruning kept, with what else is chosen.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Replacement and completeness of the graph, of what pruning kept, and of any choice of features."""
    from tasks.graphs.score import graph_scores
    from workbench.tui.render.graph_score import score_view

    with open_project(ctx) as project:
        document = graph_scores(project, graph, nodes or (), supernode or (), kept)
    if json:
        emit_json(document)
    else:
        emit_view(score_view(document))
