"""A pruned graph in the language of Graphviz: one rank a layer, tokens below, logits above."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from store.graphs import EdgeRecord, NodeRecord
from tasks.graphs.formats.stored import StoredGraph, inert, known_numbers
from tasks.graphs.view import NodeView, Verdict

_SHAPES = {"token": "box", "feature": "ellipse", "error": "diamond", "logit": "box"}
_POSITIVE, _NEGATIVE = "#1f6f54", "#b5442e"
_WIDEST = 5.0


def dot(graph: StoredGraph) -> bytes:
    """The kept nodes and edges with every number they carry, as attributes that Graphviz keeps and does not draw.

    Width says how large an edge's part of its target is, colour and dashes its sign.
    """
    title = quoted(inert(f"graph {graph.record.id}: {graph.record.prompt}"))
    sizes = {(edge.source, edge.target): edge.share for edge in graph.view.edges}
    lines = [
        f"digraph {quoted(f'graph {graph.record.id}')} {{",
        f"  graph [rankdir=BT, label={title}, fontname=sans];",
        "  node [fontname=sans, fontsize=10];",
        *(f"  {line}" for node in graph.nodes for line in _node(graph, node)),
        *(f"  {line}" for line in _ranks(graph.nodes)),
        *(f"  {line}" for line in _groups(graph)),
        *(f"  {_edge(edge, sizes[edge.source, edge.target])}" for edge in graph.edges),
        "}",
    ]
    return ("\n".join(lines) + "\n").encode()


def quoted(text: str) -> str:
    """`text` as a DOT string that means just these characters: no escape of Graphviz's own is left in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _node(graph: StoredGraph, node: NodeRecord) -> Iterator[str]:
    shown = graph.shown(node)
    numbers = known_numbers(
        influence=node.influence, share=node.share, predicted_effect=node.predicted_effect,
        measured_effect=shown.measured_effect, activation=node.activation,
    )  # fmt: skip
    words = {"kind": node.kind, "verdict": "" if shown.verdict == Verdict.UNTESTED else str(shown.verdict)}
    attributes = {
        "label": quoted(_label(shown, graph.view.tokens)),
        "shape": _SHAPES[node.kind],
        "layer": str(node.layer),
        "position": str(node.position),
        "feature": quoted(str(node.feature)),
        **{name: quoted(text) for name, text in words.items() if text},
        **{name: quoted(f"{value:.9g}") for name, value in numbers.items()},
    }
    yield f"n{node.node} [{_listed(attributes)}];"


def _label(shown: NodeView, tokens: tuple[str, ...]) -> str:
    """Name and token, and below it what is known of a feature."""
    if shown.kind == "logit":
        rival = f" - {inert(shown.rival)}" if shown.rival else ""
        return f"{inert(shown.text)}{rival}\np {shown.activation:.3f}"
    first = f"{shown.name} {inert(tokens[shown.position])}"
    words = shown.label or " ".join(shown.promoted[:3])
    return f"{first}\n{inert(words)}" if words else first


def _ranks(nodes: Iterable[NodeRecord]) -> Iterator[str]:
    """Nodes of one layer side by side."""
    layers: dict[int, list[int]] = {}
    for node in nodes:
        layers.setdefault(node.layer, []).append(node.node)
    for layer in sorted(layers):
        yield f"{{ rank=same; {' '.join(f'n{node};' for node in layers[layer])} }}"


def _groups(graph: StoredGraph) -> Iterator[str]:
    """A supernode is an attribute of its members: a cluster would break the ranks."""
    for node, name in graph.supernode_of.items():
        yield f"n{node} [supernode={quoted(inert(name))}];"


def _edge(edge: EdgeRecord, size: float) -> str:
    """`size` is its part of everything that its target is made of."""
    attributes = {
        "share": quoted(f"{edge.share:.9g}"),
        **{name: quoted(f"{value:.9g}") for name, value in known_numbers(effect=edge.effect).items()},
        "penwidth": f"{max(0.3, _WIDEST * math.sqrt(min(abs(size), 1.0))):.2f}",
        "color": quoted(_NEGATIVE if edge.share < 0 else _POSITIVE),
        "style": "dashed" if edge.share < 0 else "solid",
    }
    return f"n{edge.source} -> n{edge.target} [{_listed(attributes)}];"


def _listed(attributes: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in attributes.items())
