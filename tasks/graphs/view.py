"""An attribution graph as people see it: the kept nodes and edges with everything that a line may say."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from store import graphs
from store.graphs import (
    EdgeEffectRecord,
    EdgeRecord,
    EffectRecord,
    FeatureWords,
    GraphRecord,
    NodeRecord,
    SupernodeEffectRecord,
)
from store.project import Project


class Verdict(StrEnum):
    """How a measured effect compares with the predicted one."""

    CONFIRMED = "confirmed"
    WEAK = "weak"
    CONTRADICTED = "contradicted"
    UNTESTED = "untested"


@dataclass(frozen=True)
class NodeView:
    """One kept node. Texts are raw: the renderer makes them inert."""

    node: int
    kind: str
    """token, feature, error or logit; supernode of a group of them."""
    layer: int
    position: int
    feature: int
    activation: float
    """The feature's activation; the probability of a logit."""
    share: float
    """Nats of the decisive target that come through this node, along all paths; of a logit, its value."""
    predicted_effect: float | None = None
    """What the target would lose if this feature were removed, first order, in nats."""
    measured_effect: float | None = None
    """The same, measured in the real model."""
    verdict: Verdict = Verdict.UNTESTED
    text: str = ""
    """The token's or logit's text."""
    rival: str = ""
    """The text of the token whose logit is taken away from this one's."""
    label: str = ""
    promoted: tuple[str, ...] = ()
    fires_on: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    """The names of the nodes that a supernode is made of."""
    input_size: float = 1.0
    """Σ|share| over everything that its value is made of, in units of the value."""

    @property
    def name(self) -> str:
        """`L12/345@7` for a feature, `L12@7` for an error, `@7` for a token, a supernode's own, nothing for a logit."""
        if self.members:
            return self.label
        if self.kind == "feature":
            return f"L{self.layer}/{self.feature}@{self.position}"
        if self.kind == "error":
            return f"L{self.layer}@{self.position}"
        return f"@{self.position}" if self.kind == "token" else ""


@dataclass(frozen=True)
class EdgeView:
    """One kept edge.

    `share` is its signed part of the sizes of everything that the target is made of, kept or not; `effect` is in units
    of the target.
    """

    source: int
    target: int
    share: float
    effect: float | None = None
    direct_effect: float | None = None
    """`effect` measured: the source removed and every other feature held, in units of the target."""
    total_effect: float | None = None
    """What the target loses without the source, nothing held, measured."""
    verdict: Verdict = Verdict.UNTESTED
    """How `direct_effect` compares with `effect`."""

    def strength(self, by: str) -> float:
        """The signed number that ranks it: its effect where `by` is `effect` and it is known, else its share."""
        return self.effect if by == "effect" and self.effect is not None else self.share


TOKENS_SHOWN = 2
"""Tokens that a node shows beside its features, however many those are."""


@dataclass(frozen=True)
class Children:
    """What a node is made of, or what it feeds: the strongest edges one by one, the others as sums."""

    shown: tuple[EdgeView, ...]
    """Features and groups first, then tokens; each kind strongest first."""
    n_hidden: int
    hidden_mass: float
    """Σ|share| of what is not shown and no error."""
    n_errors: int
    error_mass: float
    """Σ|share| of the error nodes."""
    error_share: float
    """Σ share of the error nodes, signed."""
    mass: float
    """Σ|share| of all edges."""

    @property
    def total(self) -> int:
        """How many edges there are."""
        return len(self.shown) + self.n_hidden + self.n_errors


class TreeSource(Protocol):
    """What a tree is read from: a stored graph as it was pruned (`GraphView`), or as it is shaped now (`Lens`)."""

    @property
    def nodes(self) -> Mapping[int, NodeView]:
        """The nodes there are, by number."""

    def children(self, node: int, direction: str, by: str, width: int, always: Collection[int] = ()) -> Children:
        """The `width` strongest edges at `node`, those to the nodes `always`, and what is left."""

    def degree(self, node: int, direction: str) -> int:
        """How many edges there are at `node`."""


@dataclass(frozen=True)
class GraphView:
    """A pruned graph. `roots` are what it explains (logits, or one feature), the decisive one first."""

    graph: int
    prompt: str
    tokens: tuple[str, ...]
    dictionary: str
    nodes: Mapping[int, NodeView]
    edges: tuple[EdgeView, ...]
    roots: tuple[int, ...]
    closing_error: float
    replacement_score: float
    completeness_score: float
    supernode_effects: tuple[SupernodeEffectRecord, ...] = ()
    """What was measured of groups of its nodes."""

    @cached_property
    def _inputs(self) -> dict[int, list[EdgeView]]:
        return _grouped((edge.target, edge) for edge in self.edges)

    @cached_property
    def _outputs(self) -> dict[int, list[EdgeView]]:
        return _grouped((edge.source, edge) for edge in self.edges)

    def edges_at(self, node: int, direction: str) -> list[EdgeView]:
        """The edges into `node` (`direction` is `in`) or out of it (`out`)."""
        return (self._inputs if direction == "in" else self._outputs).get(node, [])

    def degree(self, node: int, direction: str) -> int:
        """How many edges lead into `node` (`in`) or out of it (`out`)."""
        return len(self.edges_at(node, direction))

    def children(self, node: int, direction: str, by: str, width: int, always: Collection[int] = ()) -> Children:
        """The `width` strongest edges at `node` by effect or share, then a few tokens, those to `always`, and the rest.

        Errors are summed apart. A rest of one edge is shown: a line that says "1 weaker" could as well be that one.
        """
        end = "source" if direction == "in" else "target"
        by_kind: dict[str, list[EdgeView]] = {"token": [], "error": [], "other": []}
        edges = self.edges_at(node, direction)
        for edge in sorted(edges, key=lambda edge: -self._strength(getattr(edge, end), edge, by)):
            kind = self.nodes[getattr(edge, end)].kind
            by_kind[kind if kind in by_kind else "other"].append(edge)
        shown: list[EdgeView] = []
        hidden: list[EdgeView] = []
        n_tokens = max(TOKENS_SHOWN, width - len(by_kind["other"]))
        for kind, count in (("other", width), ("token", n_tokens)):
            for rank, edge in enumerate(by_kind[kind]):
                (shown if rank < count or getattr(edge, end) in always else hidden).append(edge)
        if len(hidden) == 1:
            shown, hidden = [*shown, *hidden], []
        errors = by_kind["error"]
        sizes = [sum(abs(edge.share) for edge in part) for part in (hidden, errors, edges)]
        error_share = sum(edge.share for edge in errors)
        return Children(tuple(shown), len(hidden), sizes[0], len(errors), sizes[1], error_share, sizes[2])

    def _strength(self, other: int, edge: EdgeView, by: str) -> float:
        """What ranks an edge among those of its kind: the size of the effect its line prints, or of its share."""
        effect = self.nodes[other].predicted_effect if by == "effect" else None
        return abs(edge.share if effect is None else effect)


def _grouped(pairs: Iterable[tuple[int, EdgeView]]) -> dict[int, list[EdgeView]]:
    groups: dict[int, list[EdgeView]] = defaultdict(list)
    for node, edge in pairs:
        groups[node].append(edge)
    return dict(groups)


def load_graph_view(project: Project, graph_id: int) -> GraphView:
    """A graph with everything that its views say: its rows, the words for its features, what was measured."""
    record = graphs.find(project.db, graph_id)
    nodes = graphs.nodes(project.db, graph_id)
    features = {(node.layer, node.feature) for node in nodes if node.kind == "feature"}
    view = graph_view(
        record,
        nodes,
        graphs.edges(project.db, graph_id),
        graphs.effects(project.db, graph_id),
        imported_words(record) | graphs.feature_words(project.db, record.dictionary, features),
    )
    return replace(
        view,
        edges=_measured_edges(view.edges, graphs.edge_effects(project.db, graph_id)),
        supernode_effects=tuple(graphs.supernode_effects(project.db, graph_id)),
    )


def _measured_edges(edges: Iterable[EdgeView], effects: Iterable[EdgeEffectRecord]) -> tuple[EdgeView, ...]:
    """The edges, those that were tested with what was measured."""
    known = {(effect.source, effect.target): effect for effect in effects}
    return tuple(
        replace(edge, direct_effect=found.direct, total_effect=found.total, verdict=Verdict(found.verdict))
        if (found := known.get((edge.source, edge.target)))
        else edge
        for edge in edges
    )


def imported_words(record: GraphRecord) -> dict[tuple[int, int], FeatureWords]:
    """What the file of an imported graph says of its features."""
    words: dict[tuple[int, int], FeatureWords] = {}
    for place, said in record.summary.get("words", {}).items():
        layer, feature = map(int, place.split("/"))
        promoted = [(str(token), math.nan) for token in said["promoted"]]
        words[layer, feature] = FeatureWords(said["label"], promoted, said["fires_on"])
    return words


def graph_view(
    record: GraphRecord,
    nodes: Sequence[NodeRecord],
    edges: Sequence[EdgeRecord],
    effects: Sequence[EffectRecord],
    words: Mapping[tuple[int, int], FeatureWords],
) -> GraphView:
    """The view of a stored graph: its rows joined with what was measured and with the words for its features."""
    measured = {(effect.layer, effect.position, effect.feature): effect for effect in effects}
    first_target = min((int(t["node"]) for t in record.targets if "node" in t), default=None)
    roots = [n.node for n in nodes if (n.kind == "logit" if first_target is None else n.node >= first_target)]
    views = {node.node: node_view(node, record, measured, words) for node in nodes}
    sizes = {node.node: node.input_size or 1.0 for node in nodes}
    return GraphView(
        graph=record.id,
        prompt=record.prompt,
        tokens=tuple(record.summary["tokens"]),
        dictionary=record.dictionary,
        nodes=views,
        edges=tuple(EdgeView(e.source, e.target, e.share / sizes[e.target], e.effect) for e in edges),
        roots=tuple(roots),
        closing_error=record.closing_error,
        replacement_score=record.replacement_score,
        completeness_score=record.completeness_score,
    )


def node_view(
    node: NodeRecord,
    record: GraphRecord,
    measured: Mapping[tuple[int, int, int], EffectRecord],
    words: Mapping[tuple[int, int], FeatureWords],
) -> NodeView:
    """One node's row with what was measured, by (layer, position, feature), and the words for its feature."""
    tokens = record.summary["tokens"]
    texts = {target["id"]: target["token"] for target in record.targets}
    effect = measured.get((node.layer, node.position, node.feature)) if node.kind == "feature" else None
    known = words.get((node.layer, node.feature)) if node.kind == "feature" else None
    return NodeView(
        node=node.node,
        kind=node.kind,
        layer=node.layer,
        position=node.position,
        feature=node.feature,
        activation=node.activation,
        share=node.share,
        predicted_effect=node.predicted_effect,
        measured_effect=effect.measured if effect else None,
        verdict=Verdict(effect.verdict) if effect else Verdict.UNTESTED,
        rival=next((t["rival"] or "" for t in record.targets if t["id"] == node.feature), "")
        if node.kind == "logit"
        else "",
        text=tokens[node.position] if node.kind == "token" else texts.get(node.feature, ""),
        label=known.label if known else "",
        promoted=tuple(token for token, _ in known.promoted) if known else (),
        fires_on=tuple(known.fires_on) if known else (),
        input_size=node.input_size or 1.0,
    )
