"""`workbench graph export`: a graph for other tools and for people, by the ending of the file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from store.errors import BadInput
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

if TYPE_CHECKING:
    from store.project import Project
    from tasks.graphs.formats.stored import StoredGraph

Format = Literal["json", "graphml", "dot", "safetensors", "svg", "html"]
FORMATS: tuple[str, ...] = get_args(Format)


def export(
    ctx: typer.Context,
    graph: Annotated[int, typer.Argument(help="The graph's id.", metavar="GRAPH")],
    file: Annotated[Path, typer.Argument(help="Where it goes; its ending is the format if --format is not given.")],
    format: Annotated[
        Format | None,
        typer.Option(
            help="json: circuit-tracer's and Neuronpedia's. graphml, dot: the kept graph. safetensors: all arrays, "
            "with the dense adjacency. svg: a figure. html: a page that works offline."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Write a graph for other tools, with every number it carries."""
    chosen = format or file.suffix.removeprefix(".").lower()
    if chosen not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise BadInput(f"{file} ends in none of {endings}", "name it so, or give --format")
    if file.exists():
        raise BadInput(f"{file} exists", "choose another name")
    with open_project(ctx) as project:
        document = _write(project, graph, file, chosen)
    if json:
        emit_json(document)
    else:
        from workbench.tui.render.facts import facts

        emit_view(facts(document))


def _write(project: Project, graph_id: int, file: Path, format_name: str) -> dict[str, object]:
    """Write the file and say what is in it."""
    from tasks.graphs.formats.stored import load_stored_graph

    graph = load_stored_graph(project, graph_id)
    content = exported(graph, format_name)
    try:
        file.write_bytes(content)
    except OSError as error:
        with suppress(OSError):
            file.unlink()
        raise BadInput(f"{file} cannot be written ({error.strerror})", "choose another place") from error
    return {"graph": graph_id, "file": str(file), "format": format_name, "bytes": len(content),
            "nodes": len(graph.nodes), "edges": len(graph.edges)}  # fmt: skip


def exported(graph: StoredGraph, format_name: str) -> bytes:
    """The graph in one of `FORMATS`."""
    from tasks.graphs.formats.arrays import dense_arrays
    from tasks.graphs.formats.dot import dot
    from tasks.graphs.formats.graphml import graphml
    from tasks.graphs.formats.neuronpedia import graph_json
    from workbench.figures.html import graph_page
    from workbench.figures.svg import graph_figure

    if format_name == "safetensors":
        return dense_arrays(graph.record, graph.arrays)
    if format_name == "svg":
        return graph_figure(graph.view).encode()
    if format_name == "html":
        return graph_page(graph.view, graph.supernodes).encode()
    written = {"json": graph_json, "graphml": graphml, "dot": dot}
    return written[format_name](graph)
