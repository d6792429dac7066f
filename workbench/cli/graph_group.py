"""`workbench graph group`: supernodes, by hand and by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.errors import BadInput
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view, narrate, stdout_console

if TYPE_CHECKING:
    from store.project import Project

LIST_MEND = "give a NAME with features, or one of --list, --remove, --rename, --auto"


def group(
    ctx: typer.Context,
    graph: Annotated[int, typer.Argument(help="The graph's id.", metavar="GRAPH")],
    name: Annotated[str | None, typer.Argument(help="The new supernode's name.", metavar="NAME")] = None,
    features: Annotated[
        list[str] | None,
        typer.Argument(
            help="Its members: L12/345@7, L12/345, L4-9/*@-1; or tokens, @7; or errors, L12@7.", metavar="FEATURE"
        ),
    ] = None,
    remove: Annotated[str | None, typer.Option(help="Dissolve this supernode.", metavar="NAME")] = None,
    rename: Annotated[tuple[str, str] | None, typer.Option(help="Rename one.", metavar="OLD NEW")] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Find groups among the features that are in none.")] = False,
    similarity: Annotated[
        float, typer.Option(help="--auto: groups merge down to this mean affinity (0 to 1).", min=0.0, max=1.0)
    ] = 0.5,
    list_all: Annotated[bool, typer.Option("--list", help="Only list the supernodes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Make, find, rename, dissolve or list the supernodes of a graph; a node is in one at most."""
    wishes = {"NAME": name is not None, "--remove": remove is not None, "--rename": rename is not None,
              "--auto": auto, "--list": list_all}  # fmt: skip
    asked = [wish for wish, wanted in wishes.items() if wanted]
    if len(asked) != 1:
        raise BadInput(f"{' and '.join(asked) or 'nothing'} asked for", LIST_MEND)
    if name is not None and not features:
        raise BadInput(f"supernode {name!r} has no members", "name features behind it, as L12/345@7")
    with open_project(ctx, write=not list_all, work=False) as project:
        if auto:
            _find(project, graph, similarity)
        elif not list_all:
            with project.transaction():
                _change(project, graph, (name, features or []), remove, rename)
        _show(project, graph, json)


def _change(
    project: Project,
    graph: int,
    new: tuple[str | None, list[str]],
    remove: str | None,
    rename: tuple[str, str] | None,
) -> None:
    from store import graphs
    from tasks.graphs.supernodes import make_supernode, refuse_name, supernode_members

    name, features = new
    graphs.find(project.db, graph)
    if name is not None:
        make_supernode(project, graph, name, features)
    elif remove is not None:
        supernode_members(project, graph, remove)
        graphs.remove_supernode(project.db, graph, remove)
    elif rename is not None:
        supernode_members(project, graph, rename[0])
        refuse_name(rename[1], graphs.supernodes(project.db, graph))
        graphs.rename_supernode(project.db, graph, *rename)


def _find(project: Project, graph: int, similarity: float) -> None:
    from tasks.circuits.automatic_groups import group_automatically

    found = group_automatically(project, graph, similarity)
    narrate(f"{len(found)} groups found" if found else "no two features are as alike as that; lower --similarity")


def _show(project: Project, graph: int, as_json: bool) -> None:
    from store import graphs
    from tasks.graphs.supernodes import supernode_document
    from tasks.graphs.view import load_graph_view
    from workbench.tui.render.supernodes import supernode_view

    view = load_graph_view(project, graph)
    document: dict[str, Any] = supernode_document(view, graphs.supernodes(project.db, graph))
    if as_json:
        emit_json(document)
    else:
        emit_view(supernode_view(document, stdout_console().width))
