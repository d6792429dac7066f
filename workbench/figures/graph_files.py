"""A graph as a file for other tools and for people, by the file's ending: what the command line and the app write."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from store.errors import BadInput

if TYPE_CHECKING:
    from store.project import Project
    from tasks.graphs.formats.stored import StoredGraph

Format = Literal["json", "graphml", "dot", "safetensors", "svg", "html"]
FORMATS: tuple[str, ...] = get_args(Format)


def format_of(file: Path, wanted: str | None = None) -> str:
    """The format to write; `BadInput` for an ending that names none, and for a file that is there already."""
    chosen = wanted or file.suffix.removeprefix(".").lower()
    if chosen not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise BadInput(f"{file} ends in none of {endings}", "name it so, or give --format")
    if file.exists():
        raise BadInput(f"{file} exists", "choose another name")
    return chosen


def write_graph(project: Project, graph_id: int, file: Path, format_name: str) -> dict[str, object]:
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
