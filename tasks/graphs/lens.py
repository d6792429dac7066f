"""A stored graph shaped anew at every key: pruned, pinned and grouped, with what its rows and its file know of it.

Everything is arrays, so that a graph of 8 000 nodes is on the screen between two frames; a node becomes a `NodeView`
and an edge an `EdgeView` when a line shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.open_graph import OpenGraph
from tasks.graphs.raw import Ints
from tasks.graphs.supernodes import group_of_members
from tasks.graphs.view import TOKENS_SHOWN, Children, EdgeView, NodeView

Numbers = NDArray[np.float64]
_OTHER, _TOKEN, _ERROR = 0, 1, 2


@dataclass(frozen=True)
class _Ends:
    """The edges at each node in one direction: `edge[start[node] : start[node + 1]]` are their places."""

    start: Ints
    edge: Ints

    def at(self, node: int) -> Ints:
        """The places of the edges at `node`."""
        return self.edge[self.start[node] : self.start[node + 1]]


class LensNodes(Mapping[int, NodeView]):
    """The nodes of a lens by number; each is made when it is asked for."""

    def __init__(self, graph: OpenGraph, kept: Ints, groups: Mapping[int, NodeView]) -> None:
        """`kept`: the graph's nodes that are drawn alone, ascending; `groups`: those drawn together, by number."""
        self._graph, self._groups = graph, groups
        self._kept = dict.fromkeys(kept.tolist())

    def __getitem__(self, node: int) -> NodeView:
        if node in self._groups:
            return self._groups[node]
        if node not in self._kept:
            raise KeyError(node)
        return self._graph.node(node)

    def __iter__(self) -> Iterator[int]:
        yield from self._groups
        yield from self._kept

    def __len__(self) -> int:
        return len(self._kept) + len(self._groups)


@dataclass(frozen=True, eq=False)
class Lens:
    """What is drawn of a graph. Nodes keep their numbers; groups have those from `raw.n_nodes` on."""

    graph: OpenGraph
    nodes: LensNodes
    source: Ints
    target: Ints
    share: Numbers
    """[edge]: signed part of everything that its target is made of."""
    effect: Numbers
    """[edge]: in units of the target; NaN where it is not known."""
    place: Ints
    """[edge]: its place among the graph's edges; -1 of a bundle."""
    strength: Numbers
    """[node]: |predicted effect|, NaN where it is not known."""
    kind: NDArray[np.uint8]
    """[node]: token, error or anything else."""
    drawn: Ints
    """The graph's nodes that are drawn, alone or in groups."""
    n_kept_edges: int
    """Of the graph, drawn alone or in bundles."""

    def children(self, node: int, direction: str, by: str, width: int, always: Collection[int] = ()) -> Children:
        """As `GraphView.children`, by arrays."""
        edges = self._ends(direction).at(node)
        other = (self.source if direction == "in" else self.target)[edges]
        size = np.abs(self.share[edges])
        rank_by = size
        if by == "effect":
            strength = self.strength[other]
            rank_by = np.where(np.isnan(strength), size, strength)
        order = (-rank_by).argsort(kind="stable")
        kind, forced = self.kind[other[order]], np.isin(other[order], list(always))
        n_other = int((kind == _OTHER).sum())
        shown, hidden = [], []
        for code, count in ((_OTHER, width), (_TOKEN, max(TOKENS_SHOWN, width - n_other))):
            of_kind = (kind == code).nonzero()[0]
            stays = forced[of_kind]
            stays[:count] = True
            shown.append(order[of_kind[stays]])
            hidden.append(order[of_kind[~stays]])
        seen, rest, errors = np.concatenate(shown), np.concatenate(hidden), order[kind == _ERROR]
        if len(rest) == 1:
            seen, rest = np.concatenate([seen, rest]), rest[:0]
        return Children(
            tuple(self._edge(each) for each in edges[seen].tolist()), len(rest), float(size[rest].sum()),
            len(errors), float(size[errors].sum()), float(self.share[edges[errors]].sum()), float(size.sum()),
        )  # fmt: skip

    def gifts(self, node: int) -> dict[int, float]:
        """Source -> what it gives to `node`, signed, in units of the node's value."""
        edges = self._inputs.at(node)
        size = self.graph.input_size[node] if node < self.graph.raw.n_nodes else self.nodes[node].input_size
        return dict(zip(self.source[edges].tolist(), (self.share[edges] * size).tolist(), strict=True))

    def drawn_nodes(self) -> list[NodeView]:
        """The graph's nodes that are drawn, those in groups each by itself."""
        return [self.graph.node(node) for node in self.drawn.tolist()]

    def degree(self, node: int, direction: str) -> int:
        """How many edges lead into `node` (`in`) or out of it (`out`)."""
        return len(self._ends(direction).at(node))

    def strongest_route(self, node: int, roots: Collection[int], direction: str) -> list[int]:
        """The nodes from one of `roots` to `node`, each step along its strongest edge; empty if there is no way.

        With `in` a root is reached by going up from `node`; with `out` by going down.
        """
        route = [node]
        while route[-1] not in roots:
            edges = self._ends("out" if direction == "in" else "in").at(route[-1])
            if not len(edges):
                return []
            strongest = edges[np.abs(self.share[edges]).argmax()]
            route.append(int((self.target if direction == "in" else self.source)[strongest]))
        return route[::-1]

    def _ends(self, direction: str) -> _Ends:
        return self._inputs if direction == "in" else self._outputs

    @cached_property
    def _inputs(self) -> _Ends:
        return _ends(self.target, self.source, len(self.kind))

    @cached_property
    def _outputs(self) -> _Ends:
        return _ends(self.source, self.target, len(self.kind))

    def _edge(self, edge: int) -> EdgeView:
        effect = float(self.effect[edge])
        ends = int(self.source[edge]), int(self.target[edge])
        known = self.graph.tested_edge(*ends) if self.place[edge] >= 0 else {}
        return EdgeView(*ends, float(self.share[edge]), None if np.isnan(effect) else effect, **known)


def _ends(key: Ints, then: Ints, n_nodes: int) -> _Ends:
    """Edges by `key`, and those of one key by `then`."""
    small: Any = np.uint16 if n_nodes <= np.iinfo(np.uint16).max else np.int64
    by_other = then.astype(small).argsort(kind="stable")
    edge = by_other[key.astype(small)[by_other].argsort(kind="stable")]
    start = np.zeros(n_nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(key, minlength=n_nodes), out=start[1:])
    return _Ends(start, edge)


def lens(
    graph: OpenGraph,
    node_kept: NDArray[np.bool_],
    edges: Ints,
    pinned: Collection[int] = (),
    only_pinned: bool = False,
    groups: Mapping[str, Collection[int]] | None = None,
) -> Lens:
    """What is drawn: the nodes in `node_kept` [node] with their `edges` (places), and the nodes in `pinned`.

    Pinned nodes that pruning took bring all their edges to what is drawn. With `only_pinned`, of features and errors
    only the pinned ones are. `groups` are drawn together, as `supernodes.grouped` does.
    """
    raw = graph.raw
    pins = np.array(sorted(pinned), dtype=np.int64)
    extra = pins[~node_kept[pins]] if len(pins) else pins
    drawn = node_kept.copy()
    drawn[: raw.first_token] &= not only_pinned
    drawn[pins] = True
    if len(extra):
        edges = np.unique(np.concatenate([edges, *(graph.edges_at(int(node)) for node in extra)]))
    if len(extra) or only_pinned:
        edges = edges[drawn[raw.source[edges]] & drawn[raw.target[edges]]]
    members = {name: [node for node in nodes if drawn[node]] for name, nodes in (groups or {}).items()}
    return _lens(graph, drawn, edges, {name: nodes for name, nodes in members.items() if nodes})


def _lens(graph: OpenGraph, drawn: NDArray[np.bool_], edges: Ints, groups: Mapping[str, list[int]]) -> Lens:
    raw = graph.raw
    source, target, effect = raw.source[edges], raw.target[edges], graph.edge_effect[edges]
    counts = drawn.nonzero()[0], len(edges)
    if not groups:
        share = raw.share[edges] / graph.input_size[target]
        nodes = LensNodes(graph, counts[0], {})
        return Lens(graph, nodes, source, target, share, effect, edges, graph.strength, graph.kind_code, *counts)
    number = np.arange(raw.n_nodes)
    views = {}
    for place, (name, members) in enumerate(groups.items(), raw.n_nodes):
        number[members] = place
        views[place] = group_of_members(place, name, [graph.node(node) for node in members], graph.supernode_effects)
        drawn[members] = False
    size = np.concatenate([graph.input_size, [view.input_size or 1.0 for view in views.values()]])
    strength = np.concatenate([graph.strength, [_size_or_nan(view.predicted_effect) for view in views.values()]])
    kind = np.concatenate([graph.kind_code, np.full(len(views), _OTHER, np.uint8)])
    bundled = _bundled(number[source], number[target], raw.share[edges].astype(np.float64), effect, edges, len(size))
    source, target, value, effect, edges = bundled
    nodes = LensNodes(graph, drawn.nonzero()[0], views)
    return Lens(graph, nodes, source, target, value / size[target], effect, edges, strength, kind, *counts)


def _bundled(
    source: Ints, target: Ints, value: Numbers, effect: Numbers, place: Ints, n_nodes: int
) -> tuple[Ints, Ints, Numbers, Numbers, Ints]:
    """Edges with the same ends put together, those inside a group left out: sums of values and effects."""
    outside = source != target
    source, target, value, effect, place = (
        column[outside] for column in (source, target, value, effect, place)
    )  # fmt: skip
    pairs, first, inverse, counts = np.unique(
        target.astype(np.int64) * n_nodes + source, return_index=True, return_inverse=True, return_counts=True
    )
    sums = (np.bincount(inverse, column, len(pairs)) for column in (value, effect))
    return pairs % n_nodes, pairs // n_nodes, *sums, np.where(counts > 1, -1, place[first])


def _size_or_nan(value: float | None) -> float:
    return np.nan if value is None else abs(value)
