"""`workbench graph export`: a graph for other tools and for people, by the ending of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view
from workbench.figures.graph_files import Format, format_of, write_graph


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
    chosen = format_of(file, format)
    with open_project(ctx) as project:
        document = write_graph(project, graph, file, chosen)
    if json:
        emit_json(document)
    else:
        from workbench.tui.render.facts import facts

        emit_view(facts(document))
