"""A graph of the store with everything that its views say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.project import Project
    from workbench.tui.render.graph_view import GraphView


def load_graph_view(project: Project, graph_id: int) -> GraphView:
    """A graph with everything that its tree says: its rows, the words for its features, what was measured."""
    from store import graphs
    from workbench.tui.render.graph_view import graph_view

    record = graphs.find(project.db, graph_id)
    nodes = graphs.nodes(project.db, graph_id)
    features = {(node.layer, node.feature) for node in nodes if node.kind == "feature"}
    return graph_view(
        record,
        nodes,
        graphs.edges(project.db, graph_id),
        graphs.effects(project.db, graph_id),
        graphs.feature_words(project.db, record.dictionary, features),
    )
