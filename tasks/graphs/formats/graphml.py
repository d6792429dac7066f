"""A pruned graph in a format that other programs read: GraphML, written by networkx."""

import io
from collections.abc import Sequence

import networkx as nx

from store.graphs import EdgeRecord, GraphRecord, NodeRecord


def graphml(record: GraphRecord, nodes: Sequence[NodeRecord], edges: Sequence[EdgeRecord]) -> bytes:
    """The kept nodes and edges with every number they carry. Texts are escaped: XML cannot hold control characters."""
    graph = nx.DiGraph(
        prompt=_inert(record.prompt), dictionary=_inert(record.dictionary), closing_error=record.closing_error
    )
    for node in nodes:
        graph.add_node(
            node.node,
            kind=node.kind,
            layer=node.layer,
            position=node.position,
            feature=node.feature,
            token=_inert(record.summary["tokens"][node.position]),
            activation=node.activation,
            influence=node.influence,
            share=node.share,
            **_known("predicted_effect", node.predicted_effect),
        )
    for edge in edges:
        graph.add_edge(edge.source, edge.target, share=edge.share, **_known("effect", edge.effect))
    out = io.BytesIO()
    nx.write_graphml(graph, out)
    return out.getvalue()


def _inert(text: str) -> str:
    return text.encode("unicode_escape").decode() if not text.isprintable() else text


def _known(name: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {name: value}
