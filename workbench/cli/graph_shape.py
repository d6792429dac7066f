"""`workbench graph pin`, `undo`, `redo` and `views`: what the app's graph pane does to a graph, headless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from store.errors import BadInput
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view, narrate

if TYPE_CHECKING:
    from store.project import Project

GraphArgument = Annotated[int, typer.Argument(help="The graph's id.", metavar="GRAPH")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def pin(
    ctx: typer.Context,
    graph: GraphArgument,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(help="L12/345@7, L12/345, L4-9/*@-1; or tokens, @7; or errors, L12@7.", metavar="NODE"),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Unpin these; all, if none is named.")] = False,
    json: JsonOption = False,
) -> None:
    """Pin nodes, which then stay whatever the thresholds; without NODE, list those that are pinned."""
    with open_project(ctx, write=bool(nodes) or remove, work=False) as project:
        if nodes or remove:
            with project.transaction():
                _pin(project, graph, nodes or [], not remove)
        _show_pins(project, graph, json)


def undo(ctx: typer.Context, graph: GraphArgument) -> None:
    """Take back the last edit of a graph: a pin, a group, a label, by whomever it was made."""
    from store import graph_shape, graphs

    with open_project(ctx, write=True, work=False) as project, project.transaction():
        graphs.find(project.db, graph)
        narrate(f"undone: {graph_shape.undo(project.db, graph)}")


def redo(ctx: typer.Context, graph: GraphArgument) -> None:
    """Make the edit of a graph again that was taken back last."""
    from store import graph_shape, graphs

    with open_project(ctx, write=True, work=False) as project, project.transaction():
        graphs.find(project.db, graph)
        narrate(f"redone: {graph_shape.redo(project.db, graph)}")


def views(
    ctx: typer.Context,
    graph: GraphArgument,
    remove: Annotated[str | None, typer.Option(help="Forget this view.", metavar="NAME")] = None,
    json: JsonOption = False,
) -> None:
    """The views of a graph that were kept by name in the app: thresholds, root, direction, pins."""
    from store import graph_shape, graphs
    from workbench.tui.render.graph_list import view_table

    with open_project(ctx, write=remove is not None, work=False) as project:
        graphs.find(project.db, graph)
        if remove is not None:
            with project.transaction():
                graph_shape.forget_view(project.db, graph, remove)
        kept = graph_shape.views(project.db, graph)
    if json:
        emit_json({"graph": graph, "views": [{"name": name, "view": view} for name, view in kept.items()]})
    else:
        emit_view(view_table(kept))


def _pin(project: Project, graph: int, names: list[str], pinned: bool) -> None:
    """Pin or unpin what the names mean, as one edit that can be undone."""
    from store import graph_shape, graphs
    from tasks.graphs.feature_name import named_nodes

    record, rows = graphs.find(project.db, graph), graphs.nodes(project.db, graph)
    chosen = {node for name in names for node in named_nodes(name, rows, len(record.token_ids))}
    if not names:
        chosen = set(graph_shape.pins(project.db, graph))
    if not chosen:
        raise BadInput(f"graph {graph} has no pins", "pin something first")
    words = f"{'pin' if pinned else 'unpin'} {' '.join(names) or 'all'}"
    parts = graph_shape.Parts(pins={str(node): pinned for node in sorted(chosen)})
    graph_shape.change(project.db, graph, words, parts)


def _show_pins(project: Project, graph: int, as_json: bool) -> None:
    from store import graph_shape
    from tasks.graphs.view import load_graph_view
    from workbench.tui.render.graph_list import pin_table

    view, pins = load_graph_view(project, graph), graph_shape.pins(project.db, graph)
    names = {node: view.nodes[node].name for node in pins if node in view.nodes}
    if as_json:
        emit_json({"graph": graph, "pins": [{"node": node, "name": names.get(node)} for node in pins]})
    else:
        emit_view(pin_table([view.nodes[node] for node in names], view.tokens, len(pins) - len(names)))
