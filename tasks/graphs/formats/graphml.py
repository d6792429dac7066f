"""A pruned graph in a format that other programs read: GraphML, written by networkx."""

import io

import networkx as nx

from store.graphs import NodeRecord
from tasks.graphs.formats.stored import StoredGraph, inert, known_numbers
from tasks.graphs.view import Verdict


def graphml(graph: StoredGraph) -> bytes:
    """The kept nodes and edges with every number they carry; numbers that are not known are left out.

    Texts are escaped: XML cannot hold control characters.
    """
    record = graph.record
    written = nx.DiGraph(
        prompt=inert(record.prompt),
        dictionary=inert(record.dictionary),
        rule=inert(record.rule),
        replacement_score=record.replacement_score,
        completeness_score=record.completeness_score,
        **known_numbers(closing_error=record.closing_error),
    )
    for node in graph.nodes:
        written.add_node(
            node.node,
            kind=node.kind,
            layer=node.layer,
            position=node.position,
            feature=node.feature,
            token=inert(record.summary["tokens"][node.position]),
            influence=node.influence,
            **known_numbers(activation=node.activation, share=node.share, predicted_effect=node.predicted_effect),
            **_of_node(graph, node),
        )
    for edge in graph.edges:
        written.add_edge(edge.source, edge.target, share=edge.share, **known_numbers(effect=edge.effect))
    out = io.BytesIO()
    nx.write_graphml(written, out)
    return out.getvalue()


def _of_node(graph: StoredGraph, node: NodeRecord) -> dict[str, float | str]:
    """What was measured at the node, its words, and its group."""
    shown = graph.shown(node)
    words = {
        "verdict": "" if shown.verdict == Verdict.UNTESTED else str(shown.verdict),
        "label": inert(shown.label),
        "promoted": " ".join(inert(token) for token in shown.promoted),
        "supernode": inert(graph.supernode_of.get(node.node, "")),
        "text": inert(shown.text),
    }
    return known_numbers(measured_effect=shown.measured_effect) | {name: text for name, text in words.items() if text}
