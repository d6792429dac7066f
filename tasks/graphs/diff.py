"""What two graphs have in common: nodes aligned by what they are and how far from the end of the prompt they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from store.graphs import GraphRecord
from tasks.graphs.view import EdgeView, GraphView, NodeView

Key = tuple[str, int, int | str, int]
"""(kind, layer, feature index or token id, offset from the end); of a supernode its name, wherever it is."""
Pair = tuple[NodeView | EdgeView | None, NodeView | EdgeView | None]
FEATURE_KINDS = ("feature", "supernode")


@dataclass(frozen=True)
class Side:
    """One of the two graphs."""

    record: GraphRecord
    view: GraphView

    def key(self, node: NodeView) -> Key:
        """What the node is aligned by."""
        if node.members:
            return ("supernode", 0, node.label, 0)
        kind = "target" if node.node in self.view.roots else node.kind
        return (kind, node.layer, node.feature, node.position - len(self.view.tokens))

    def by_key(self) -> dict[Key, NodeView]:
        """The nodes by what they are aligned by."""
        return {self.key(node): node for node in self.view.nodes.values()}

    def edges_by_key(self) -> dict[tuple[Key, Key], EdgeView]:
        """The edges by (source, target)."""
        keys = {node.node: self.key(node) for node in self.view.nodes.values()}
        return {(keys[edge.source], keys[edge.target]): edge for edge in self.view.edges}

    def document(self) -> dict[str, Any]:
        """What the graph is, as JSON."""
        summary = self.record.summary
        return {
            "graph": self.record.id,
            "prompt": self.record.prompt,
            "dictionary": self.record.dictionary,
            "rule": self.record.rule,
            "tokens": list(self.view.tokens),
            "targets": self.record.targets,
            "replacement_score": self.record.replacement_score,
            "completeness_score": self.record.completeness_score,
            "closing_error": self.record.closing_error,
            **{name: summary.get(name) for name in ("node_threshold", "edge_threshold", "pruned_from")},
            "kept_nodes": len(self.view.nodes),
            "kept_edges": len(self.view.edges),
        }


@dataclass(frozen=True)
class NodePair:
    """One node in either graph or in both."""

    key: Key
    a: NodeView | None
    b: NodeView | None

    @property
    def where(self) -> str:
        """both, a or b."""
        return "both" if self.a and self.b else "a" if self.a else "b"

    @property
    def name(self) -> str:
        """`L12/345@-1`: with its offset from the end, which holds in both graphs; a target's token."""
        kind, layer, feature, offset = self.key
        if kind == "feature":
            return f"L{layer}/{feature}@{offset}"
        if kind == "error":
            return f"L{layer}@{offset}"
        return f"@{offset}" if kind == "token" else str(feature)

    @property
    def shown(self) -> NodeView:
        """The node in the first graph, or in the second."""
        node = self.a or self.b
        assert node is not None
        return node

    def number(self, name: str) -> tuple[float | None, float | None, float | None]:
        """(in a, in b, change from a to b) of one of the node's numbers; a graph without the node has zero of it."""
        return _numbers(self.a, self.b, name)

    def document(self) -> dict[str, Any]:
        """As JSON; positions are each graph's own."""
        places = {f"position_{side}": node.position if node else None for side, node in (("a", self.a), ("b", self.b))}
        kind, layer, feature, offset = self.key
        about = {"name": self.name, "kind": kind, "layer": layer, "feature": feature, "offset": offset}
        return {**about, "in": self.where, **places, **_all_numbers(self.a, self.b, NODE_NUMBERS)}


NODE_NUMBERS = ("share", "predicted_effect", "measured_effect")


@dataclass(frozen=True)
class Overlap:
    """How far two sets agree."""

    both: int
    only_a: int
    only_b: int
    jaccard: float
    """|A ∩ B| / |A ∪ B|; 1 of two empty sets."""
    weighted_by_share: float
    """Σ min(|a|, |b|) / Σ max(|a|, |b|) over all shares; the smaller is 0 where the signs differ."""
    weighted_by_effect: float | None
    """The same of (predicted) effects; None where some are not known. Errors have none."""


@dataclass(frozen=True)
class Diff:
    """Two graphs side by side."""

    a: Side
    b: Side
    warnings: tuple[str, ...]
    tokens: tuple[tuple[int, str | None, str | None], ...]
    """(offset from the end, token in a, token in b) where they differ."""
    nodes: tuple[NodePair, ...]
    """Targets and tokens first, then features and errors, the greatest change of effect (or share) first."""
    features: Overlap
    edges: Overlap
    edge_changes: tuple[dict[str, Any], ...]
    """The edges whose share changes most, as JSON."""

    def document(self) -> dict[str, Any]:
        """Everything, as JSON."""
        tokens = [{"offset": offset, "a": first, "b": second} for offset, first, second in self.tokens]
        return {
            "a": self.a.document(),
            "b": self.b.document(),
            "warnings": list(self.warnings),
            "tokens_that_differ": tokens,
            "features": vars(self.features),
            "edges": vars(self.edges),
            "nodes": [pair.document() for pair in self.nodes],
            "edge_changes": list(self.edge_changes),
        }


def diff(a: Side, b: Side, max_edges: int = 100) -> Diff:
    """Align two graphs and compare what is in both; `max_edges` edges are listed, all are counted."""
    nodes_a, nodes_b = a.by_key(), b.by_key()
    pairs = [NodePair(key, nodes_a.get(key), nodes_b.get(key)) for key in nodes_a | nodes_b]
    pairs.sort(key=_order)
    features = [pair for pair in pairs if pair.key[0] in FEATURE_KINDS]
    names = {pair.key: pair.name for pair in pairs}
    edges_a, edges_b = a.edges_by_key(), b.edges_by_key()
    edges = [(key, edges_a.get(key), edges_b.get(key)) for key in edges_a | edges_b]
    edges.sort(key=lambda edge: (-abs(_numbers(edge[1], edge[2], "share")[2] or 0.0), str(edge[0])))
    return Diff(
        a=a,
        b=b,
        warnings=tuple(_warnings(a, b)),
        tokens=tuple(_differing_tokens(a.view.tokens, b.view.tokens)),
        nodes=tuple(pairs),
        features=_overlap([(pair.a, pair.b) for pair in features], "predicted_effect"),
        edges=_overlap([(first, second) for _, first, second in edges], "effect", has_effect=_has_effect(edges)),
        edge_changes=tuple(
            {"source": names[key[0]], "target": names[key[1]], **_all_numbers(first, second, ("share", "effect"))}
            for key, first, second in edges[:max_edges]
        ),
    )


def _order(pair: NodePair) -> tuple[Any, ...]:
    """What ranks a node: its kind, the change of its effect (of its share where that is not known), and its effect."""
    effect, share = pair.number("predicted_effect"), pair.number("share")
    change = effect[2] if effect[2] is not None else share[2] or 0.0
    size = max(abs(number or 0.0) for number in (effect if effect[2] is not None else share))
    return (pair.key[0] in FEATURE_KINDS, pair.key[0] == "error", -abs(change), -size, str(pair.key))


def _numbers(
    a: NodeView | EdgeView | None, b: NodeView | EdgeView | None, name: str
) -> tuple[float | None, float | None, float | None]:
    first, second = (None if side is None else getattr(side, name) for side in (a, b))
    if (a is not None and first is None) or (b is not None and second is None):
        return first, second, None
    return first, second, (second or 0.0) - (first or 0.0)


def _all_numbers(
    a: NodeView | EdgeView | None, b: NodeView | EdgeView | None, names: Iterable[str]
) -> dict[str, float | None]:
    parts = ("a", "b", "change")
    return {f"{name}_{part}": x for name in names for part, x in zip(parts, _numbers(a, b, name), strict=True)}


def _has_effect(edges: Sequence[tuple[tuple[Key, Key], EdgeView | None, EdgeView | None]]) -> list[bool]:
    """[edge]: whether its source is something whose effect can be known: not an error."""
    return [key[0][0] != "error" for key, _, _ in edges]


def _overlap(pairs: Sequence[Pair], effect: str, has_effect: Sequence[bool] | None = None) -> Overlap:
    both = sum(a is not None and b is not None for a, b in pairs)
    only_a, only_b = sum(b is None for _, b in pairs), sum(a is None for a, _ in pairs)
    with_effect = [pair for pair, has in zip(pairs, has_effect or [True] * len(pairs), strict=True) if has]
    known = bool(with_effect) and all(_numbers(*pair, effect)[2] is not None for pair in with_effect)
    return Overlap(
        both=both,
        only_a=only_a,
        only_b=only_b,
        jaccard=both / len(pairs) if pairs else 1.0,
        weighted_by_share=_weighted(pairs, "share"),
        weighted_by_effect=_weighted(with_effect, effect) if known else None,
    )


def _weighted(pairs: Sequence[Pair], name: str) -> float:
    smaller = larger = 0.0
    for a, b in pairs:
        first, second = (0.0 if side is None else float(getattr(side, name)) for side in (a, b))
        larger += max(abs(first), abs(second))
        smaller += min(abs(first), abs(second)) if (first > 0) == (second > 0) else 0.0
    return smaller / larger if larger else 1.0


def _warnings(a: Side, b: Side) -> Iterable[str]:
    """What makes the comparison mean less than it seems to."""
    first, second = a.record, b.record
    if first.dictionary != second.dictionary:
        yield f"the dictionaries differ ({first.dictionary}, {second.dictionary}): equal numbers are not equal features"
    if first.rule != second.rule:
        yield f"the rules differ ({first.rule}, {second.rule}): shares do not mean the same"
    if _model(first.summary) != _model(second.summary):
        yield "the models differ: equal numbers are not equal features"
    targets = [[(t["id"], t.get("rival_id")) for t in record.targets[:1]] for record in (first, second)]
    if targets[0] != targets[1]:
        yield "the targets differ: shares and effects are on different logits"


def _model(summary: Mapping[str, Any]) -> Any:
    return summary.get("model")


def _differing_tokens(a: Sequence[str], b: Sequence[str]) -> Iterable[tuple[int, str | None, str | None]]:
    pairs = list(zip_longest(reversed(a), reversed(b)))
    for number in range(len(pairs), 0, -1):
        first, second = pairs[number - 1]
        if first != second:
            yield -number, first, second
