"""Figures of graphs for people: pure functions from a graph's view to SVG and to an offline page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.graphs.view import GraphView


def draw_graph(view: GraphView) -> str:
    """The graph as SVG; the modules that draw are loaded with the first one. For `Context.draw`."""
    from workbench.figures.svg import graph_figure

    return graph_figure(view)
