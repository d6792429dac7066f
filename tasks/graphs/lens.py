"""A stored graph shaped anew at every key: pruned, pinned and grouped, with what its rows and its file know of it.

Everything is arrays, so that a graph of 8 000 nodes is on the screen between two frames; a node becomes a `NodeView`
and an edge an `EdgeView` when a line shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.open_graph import OpenGraph
from tasks.graphs.raw import Ints
from tasks.graphs.supernodes import group_of_members
from tasks.graphs.view import TOKENS_SHOWN, Children, EdgeView, NodeView

Numbers = NDArray[np.float64]
_OTHER, _TOKEN, _ERROR = 0, 1, 2


class _Ends:
    """The edges at each node in one direction. A tree looks at few nodes: each is looked for when it is asked for."""

    def __init__(self, node: Ints, n_nodes: int) -> None:
        """`node` [edge]: the node at which it is listed."""
        self._node, self._n_nodes = node, n_nodes
        self._known: dict[int, Ints] = {}

    @cached_property
    def degree(self) -> Ints:
        """[node]: how many edges it has."""
        return np.bincount(self._node, minlength=self._n_nodes)

    def at(self, node: int) -> Ints:
        """The places of the edges at `node`, ascending."""
        if node not in self._known:
            self._known[node] = (self._node == node).nonzero()[0]
        return self._known[node]


@dataclass(frozen=True)
class _Bundles:
    """What the edges are sums of, where nodes are drawn together."""

    share: Numbers
    """[edge]: signed part of everything that its target is made of."""
    effect: Numbers
    """[edge]: in units of the target; NaN where it is not known."""


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
    bundles: _Bundles | None = None

    def children(self, node: int, direction: str, by: str, width: int, always: Collection[int] = ()) -> Children:
        """As `GraphView.children`, by arrays."""
        edges = self._ends(direction).at(node)
        other = (self.source if direction == "in" else self.target)[edges]
        share = self._share(edges)
        size = np.abs(share)
        rank_by = size
        if by == "effect":
            strength = self.strength[other]
            rank_by = np.where(np.isnan(strength), size, strength)
        order = np.lexsort((other, -rank_by))
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
            len(errors), float(size[errors].sum()), float(share[errors].sum()), float(size.sum()),
        )  # fmt: skip

    def gifts(self, node: int) -> dict[int, float]:
        """Source -> what it gives to `node`, signed, in units of the node's value."""
        edges = self._inputs.at(node)
        size = self.graph.input_size[node] if node < self.graph.raw.n_nodes else self.nodes[node].input_size
        return dict(zip(self.source[edges].tolist(), (self._share(edges) * size).tolist(), strict=True))

    def drawn_nodes(self) -> list[NodeView]:
        """The graph's nodes that are drawn, those in groups each by itself."""
        return [self.graph.node(node) for node in self.drawn.tolist()]

    def degree(self, node: int, direction: str) -> int:
        """How many edges lead into `node` (`in`) or out of it (`out`)."""
        return int(self._ends(direction).degree[node])

    def strongest_route(self, node: int, roots: Collection[int], direction: str) -> list[int]:
        """The nodes from one of `roots` to `node`, along strong edges where there is a choice; empty if no way leads.

        With `in` a root is reached by going up from `node`, with `out` by going down.
        """
        ends, others = (
            self._ends("out" if direction == "in" else "in"),
            self.target if direction == "in" else self.source,
        )
        came: dict[int, int] = {node: -1}
        ahead = [node]
        while ahead:
            here = ahead.pop()
            if here in roots:
                route = [here]
                while came[route[-1]] >= 0:
                    route.append(came[route[-1]])
                return route
            edges = ends.at(here)
            for edge in edges[np.abs(self._share(edges)).argsort(kind="stable")]:  # the strongest is taken up first
                other = int(others[edge])
                if other not in came:
                    came[other] = here
                    ahead.append(other)
        return []

    def _ends(self, direction: str) -> _Ends:
        return self._inputs if direction == "in" else self._outputs

    @cached_property
    def _inputs(self) -> _Ends:
        return _Ends(self.target, len(self.kind))

    @cached_property
    def _outputs(self) -> _Ends:
        return _Ends(self.source, len(self.kind))

    def _share(self, edges: Ints) -> Numbers:
        """[edge of these]: signed part of everything that its target is made of."""
        if self.bundles is not None:
            return self.bundles.share[edges]
        share: Numbers = self.graph.raw.share[self.place[edges]] / self.graph.input_size[self.target[edges]]
        return share

    def _edge(self, edge: int) -> EdgeView:
        effect = float(self.bundles.effect[edge] if self.bundles else self.graph.edge_effect[self.place[edge]])
        ends = int(self.source[edge]), int(self.target[edge])
        known = self.graph.tested_edge(*ends) if self.place[edge] >= 0 else {}
        share = float(self._share(np.array([edge]))[0])
        return EdgeView(*ends, share, None if np.isnan(effect) else effect, **known)


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
    source, target = raw.source.take(edges), raw.target.take(edges)
    counts = drawn.nonzero()[0], len(edges)
    if not groups:
        nodes = LensNodes(graph, counts[0], {})
        return Lens(graph, nodes, source, target, edges, graph.strength, graph.kind_code, *counts)
    number = np.arange(raw.n_nodes)
    views = {}
    for place, (name, members) in enumerate(groups.items(), raw.n_nodes):
        number[members] = place
        views[place] = group_of_members(place, name, [graph.node(node) for node in members], graph.supernode_effects)
        drawn[members] = False
    size = np.concatenate([graph.input_size, [view.input_size or 1.0 for view in views.values()]])
    strength = np.concatenate([graph.strength, [_size_or_nan(view.predicted_effect) for view in views.values()]])
    kind = np.concatenate([graph.kind_code, np.full(len(views), _OTHER, np.uint8)])
    value, effect = raw.share[edges].astype(np.float64), graph.edge_effect[edges]
    source, target, value, effect, edges = _bundled(number[source], number[target], value, effect, edges, len(size))
    nodes = LensNodes(graph, drawn.nonzero()[0], views)
    bundles = _Bundles(value / size[target], effect)
    return Lens(graph, nodes, source, target, edges, strength, kind, *counts, bundles)


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
