"""What the pane asks the store: which graphs there are, whether anything changed, what is known of a node."""

from __future__ import annotations

from dataclasses import dataclass

from store import features, graphs
from store.errors import Missing
from store.features import FeatureRecord
from store.graphs import FeatureWords
from store.project import Project
from tasks.graphs.view import EdgeView, NodeView
from workbench.tui.panes.graph.shown import Shown
from workbench.tui.render.node_card import NodeFacts
from workbench.tui.render.tree_lines import TreeLine

_MARKS = """SELECT (SELECT count(*) FROM graph), (SELECT max(id) FROM graph), (SELECT max(id) FROM effect),
    (SELECT max(id) FROM edge_effect), (SELECT max(id) FROM supernode_effect),
    (SELECT group_concat(node) FROM pin WHERE graph_id = :graph),
    (SELECT group_concat(id || name || nodes) FROM supernode WHERE graph_id = :graph),
    (SELECT max(id) FROM label_change)"""


@dataclass(frozen=True)
class Traces:
    """What tells whether somebody changed what the pane shows."""

    listing: tuple[object, ...]
    measured: tuple[object, ...]
    marks: tuple[object, ...]
    labels: tuple[object, ...]


def traces(project: Project, graph_id: int) -> Traces:
    """As the store is now; `graph_id` is 0 where no graph is open."""
    row = project.db.execute(_MARKS, {"graph": graph_id}).fetchone()
    return Traces(tuple(row[:2]), tuple(row[2:5]), tuple(row[5:7]), tuple(row[7:]))


def feature_record(project: Project, dictionary: str, name: str) -> FeatureRecord | None:
    """What the index says of a feature; None if nothing does."""
    try:
        return features.find(project.db, name, dictionary)
    except Missing:
        return None


def more_words(project: Project, dictionary: str, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], FeatureWords]:
    """Labels and tokens of features that were not drawn before."""
    return graphs.feature_words(project.db, dictionary, wanted)


def node_facts(shown: Shown, line: TreeLine, known: FeatureRecord | None) -> NodeFacts | None:
    """What the card of a line says; None of a line of words."""
    node, lens = line.node, shown.tree.lens
    if node is None:
        return None
    is_feature = node.kind == "feature"
    return NodeFacts(
        node=node,
        tokens=shown.graph.tokens,
        unit=shown.unit,
        n_in=lens.degree(node.node, "in"),
        n_out=lens.degree(node.node, "out"),
        feature=known,
        activations=shown.graph.activations(node.layer, node.feature) if is_feature else (),
        edge=line.edge,
        above=_above(shown, line.edge, node),
        pinned=node.node in shown.shape.pinned,
        selected=node.node in shown.selected,
        group=shown.group_of(node.node),
    )


def _above(shown: Shown, edge: EdgeView | None, node: NodeView) -> NodeView | None:
    """The other end of the edge that a line came along."""
    if edge is None:
        return None
    other = edge.target if edge.source == node.node else edge.source
    return shown.tree.lens.nodes.get(other)
