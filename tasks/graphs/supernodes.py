"""Supernodes: named groups of a graph's nodes, and the graph seen through them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from store import graphs
from store.errors import BadInput
from store.graphs import SupernodeEffectRecord
from store.project import Project
from tasks.graphs.feature_name import named_nodes
from tasks.graphs.view import EdgeView, GraphView, NodeView, Verdict

LONGEST_NAME = 80
SUPERNODE = "supernode"
"""`NodeView.kind` of a group."""


def grouped(view: GraphView, supernodes: Mapping[str, Sequence[int]]) -> GraphView:
    """The view with the members of each supernode drawn together: nodes -1, -2, … of kind `supernode`.

    Shares, predicted effects and activations of the members are added up, and so are their edges: what a group gives to
    a node outside is the sum of what its members give. Of a group's own inputs, the share is the part of what all its
    members together are made of. Edges inside a group are gone. What was measured of a group is that of its members
    removed together; members that were not all those, and edges, have nothing measured.
    """
    members = {name: [node for node in nodes if node in view.nodes] for name, nodes in supernodes.items()}
    members = {name: nodes for name, nodes in members.items() if nodes}
    group_of = {node: -number for number, nodes in enumerate(members.values(), 1) for node in nodes}
    groups = {
        -number: group_of_members(-number, name, [view.nodes[node] for node in nodes], view.supernode_effects)
        for number, (name, nodes) in enumerate(members.items(), 1)
    }
    alone = {node: shown for node, shown in view.nodes.items() if node not in group_of}
    return replace(view, nodes=groups | alone, edges=_between(view, group_of, groups))


def group_of_members(
    node: int, name: str, members: Sequence[NodeView], measured: Iterable[SupernodeEffectRecord] = ()
) -> NodeView:
    """The node of one group, with what was `measured` of just these members; its place is that of the largest share."""
    group = _group(node, name, members)
    numbers = {member.node for member in members}
    for effect in measured:
        if set(effect.nodes) == numbers:
            verdict = Verdict(effect.verdict)
            return replace(group, predicted_effect=effect.predicted, measured_effect=effect.measured, verdict=verdict)
    return group


def _group(node: int, name: str, members: Sequence[NodeView]) -> NodeView:
    """The sums of the members."""
    place = max(members, key=lambda member: abs(member.share))
    effects = [member.predicted_effect for member in members]
    return NodeView(
        node=node,
        kind=SUPERNODE,
        layer=place.layer,
        position=place.position,
        feature=-1,
        activation=sum(member.activation for member in members),
        share=sum(member.share for member in members),
        predicted_effect=_sum_if_known(effects),
        label=name,
        promoted=tuple(token for token, _ in Counter(t for m in members for t in m.promoted).most_common(8)),
        fires_on=tuple(token for token, _ in Counter(t for m in members for t in m.fires_on).most_common(8)),
        members=tuple(member.name for member in members),
        input_size=sum(member.input_size for member in members),
    )


def _between(view: GraphView, group_of: Mapping[int, int], groups: Mapping[int, NodeView]) -> tuple[EdgeView, ...]:
    """The edges with their ends in groups put together, those inside a group left out."""
    bundles: dict[tuple[int, int], list[EdgeView]] = defaultdict(list)
    for edge in view.edges:
        source, target = group_of.get(edge.source, edge.source), group_of.get(edge.target, edge.target)
        if source != target:
            bundles[source, target].append(edge)
    edges = []
    for (source, target), bundle in bundles.items():
        share = sum(edge.share for edge in bundle)
        if target in groups:
            size = groups[target].input_size or 1.0
            share = sum(edge.share * view.nodes[edge.target].input_size for edge in bundle) / size
        edges.append(EdgeView(source, target, share, _sum_if_known([edge.effect for edge in bundle])))
    return tuple(edges)


def _sum_if_known(numbers: Iterable[float | None]) -> float | None:
    total = 0.0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def make_supernode(project: Project, graph_id: int, name: str, features: Sequence[str]) -> list[int]:
    """Group the kept nodes that `features` name (features, or tokens, or errors) and return their numbers.

    A node is in one supernode at most: `BadInput` if one is taken, if kinds are mixed, if the name is taken or is no
    name. In the caller's transaction.
    """
    record, nodes = graphs.find(project.db, graph_id), graphs.nodes(project.db, graph_id)
    known = graphs.supernodes(project.db, graph_id)
    refuse_name(name, known)
    chosen = sorted({node for text in features for node in named_nodes(text, nodes, len(record.token_ids))})
    refuse_grouping(chosen, {node.node: node.kind for node in nodes}, known)
    graphs.set_supernode(project.db, graph_id, name, chosen)
    return chosen


def refuse_grouping(chosen: Sequence[int], kinds: Mapping[int, str], known: Mapping[str, Sequence[int]]) -> None:
    """Raise `BadInput` for nodes that the graph did not keep, that are of several kinds, or in a supernode already.

    `kinds` has the kind of each kept node, `known` the supernodes there are.
    """
    if strangers := set(chosen) - set(kinds):
        fault = f"{len(strangers)} of these nodes are not among those that the stored graph kept"
        raise BadInput(fault, "write the graph at these thresholds first, or leave them out")
    if len({kinds[node] for node in chosen}) != 1:
        raise BadInput("a supernode is of one kind: features, tokens or errors", "make one of each")
    for other, members in known.items():
        if taken := set(members) & set(chosen):
            raise BadInput(
                f"{len(taken)} of these are in supernode {other!r}", "remove that one first, or leave them out"
            )


def refuse_name(name: str, known: Iterable[str]) -> None:
    """Raise `BadInput` for a name that is taken, empty, overlong, or not printable."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadInput(f"{name!r} is no name", f"give 1 to {LONGEST_NAME} printable characters")
    if name in set(known):
        raise BadInput(f"there is a supernode {name!r} already", "choose another name, or --remove it first")


def supernode_members(project: Project, graph_id: int, name: str) -> list[int]:
    """The nodes of a supernode; `BadInput` if the graph has none of that name."""
    known = graphs.supernodes(project.db, graph_id)
    if name not in known:
        there = ", ".join(known) or "none"
        raise BadInput(f"graph {graph_id} has no supernode {name!r}", f"its supernodes are: {there}")
    return known[name]


def supernode_document(view: GraphView, supernodes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The graph's supernodes as JSON: their members and the sums of their numbers."""
    together = grouped(view, supernodes).nodes.values()
    shown = [node for node in together if node.kind == SUPERNODE]
    return {
        "graph": view.graph,
        "supernodes": [
            {
                "name": node.label,
                "members": list(node.members),
                "nodes": list(supernodes[node.label]),
                "share": node.share,
                "predicted_effect": node.predicted_effect,
            }
            for node in shown
        ],
        "alone": sum(node.kind == "feature" for node in together),
    }
