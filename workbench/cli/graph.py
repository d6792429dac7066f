"""`workbench graph`: list the attribution graphs of a project, and read one as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from store.errors import BadInput
from workbench.cli.command_list import GraphCommands
from workbench.cli.graph_diff import diff
from workbench.cli.graph_export import export
from workbench.cli.graph_group import group
from workbench.cli.graph_score import score
from workbench.cli.graph_shape import pin, redo, undo, views
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view, stdout_console

if TYPE_CHECKING:
    from tasks.graphs.view import GraphView

app = typer.Typer(
    cls=GraphCommands,
    add_completion=False,
    rich_markup_mode=None,
    help="Attribution graphs: read, shape, compare, export.",
)
GraphArgument = Annotated[int, typer.Argument(help="The graph's id.", metavar="GRAPH")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("list")
def list_graphs(ctx: typer.Context, json: JsonOption = False) -> None:
    """Every graph of the project, newest first."""
    from store import graphs
    from workbench.tui.render.graph_list import graph_table

    with open_project(ctx) as project:
        records = graphs.listing(project.db)
    if json:
        emit_json({"graphs": [asdict(record) for record in records]})
    else:
        emit_view(graph_table(records))


@app.command()
def show(
    ctx: typer.Context,
    graph: GraphArgument,
    depth: Annotated[int, typer.Option(help="Levels below the root.", min=1)] = 3,
    width: Annotated[int, typer.Option(help="Children shown a node; the rest is counted.", min=1)] = 6,
    by: Annotated[Literal["effect", "share"], typer.Option(help="What ranks the children.")] = "effect",
    direction: Annotated[Literal["in", "out"], typer.Option(help="in: causes. out: consequences.")] = "in",
    root: Annotated[str | None, typer.Option(help="Start from this feature, as L12/345@7.", metavar="FEATURE")] = None,
    grouped: Annotated[bool, typer.Option("--grouped", help="Draw the members of each supernode together.")] = False,
    map: Annotated[bool, typer.Option("--map", help="Draw layers by tokens in place of the tree.")] = False,
    json: JsonOption = False,
) -> None:
    """The graph as a tree from its decisive logit: shares, effects, and what was measured."""
    from store import graphs
    from tasks.graphs.supernodes import grouped as draw_together
    from tasks.graphs.view import load_graph_view
    from workbench.tui.render.graph_tree import graph_tree
    from workbench.tui.render.token_map import token_map
    from workbench.tui.render.tree_lines import TreeLimits

    with open_project(ctx) as project:
        view = load_graph_view(project, graph)
        if grouped:
            view = draw_together(view, graphs.supernodes(project.db, graph))
    if json:
        nodes = [asdict(node) | {"name": node.name} for node in view.nodes.values()]
        emit_json({"graph": graph, "prompt": view.prompt, "tokens": view.tokens, "nodes": nodes,
                   "edges": [asdict(edge) for edge in view.edges]})  # fmt: skip
        return
    start = None if root is None else named_node(view, root)
    if map:
        emit_view(token_map(view, stdout_console().width, start))
        return
    limits = TreeLimits(depth, width, by, direction)
    emit_view(graph_tree(view, limits, stdout_console().width, start))


def named_node(view: GraphView, name: str) -> int:
    """The kept node of that name; `BadInput` if it was pruned or never was."""
    found: Sequence[int] = [node.node for node in view.nodes.values() if node.name == name]
    if not found:
        raise BadInput(f"{name} is not in graph {view.graph}", "name a feature that `workbench graph show` prints")
    return found[0]


app.command()(group)
app.command()(pin)
app.command()(undo)
app.command()(redo)
app.command()(views)
app.command()(diff)
app.command()(score)
app.command()(export)
