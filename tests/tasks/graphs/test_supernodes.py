"""Supernodes: nothing that flows is lost when they are drawn together; groups are those of plain average linkage."""

import re
from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import BadInput
from tasks.graphs.grouping import find_groups
from tasks.graphs.supernodes import grouped, refuse_name
from tasks.graphs.view import EdgeView, GraphView, NodeView

numbers = st.floats(-2, 2, allow_nan=False)


@st.composite
def views(draw: st.DrawFn) -> GraphView:
    """A random view: node 0 is the logit, features above tokens; edges climb."""
    count = draw(st.integers(2, 9))
    nodes = {0: NodeView(0, "logit", 9, 0, 3, 0.5, 1.0, text="x", input_size=draw(st.floats(0.5, 3)))}
    for node in range(1, count + 1):
        feature = node < count
        kind, effect = ("feature", draw(numbers)) if feature else ("token", None)
        size = draw(st.floats(0.5, 3)) if feature else 1.0
        nodes[node] = NodeView(node, kind, 9 - node, 0, node, draw(numbers), draw(numbers), effect, input_size=size,
                               promoted=(" a", f" b{node}"))  # fmt: skip
    pairs = draw(st.sets(st.tuples(st.integers(1, count), st.integers(0, count - 1)).filter(lambda p: p[0] > p[1])))
    edges = tuple(EdgeView(s, t, draw(numbers), draw(st.none() | numbers)) for s, t in sorted(pairs))
    return GraphView(1, "p", ("x",), "neurons", nodes, edges, (0,), 0.0, 1.0, 1.0)


@st.composite
def grouped_views(draw: st.DrawFn) -> tuple[GraphView, dict[str, list[int]]]:
    """A view and up to two disjoint groups of its features."""
    view = draw(views())
    features = [node for node, shown in view.nodes.items() if shown.kind == "feature"]
    labels = draw(st.lists(st.sampled_from(["", "one", "two"]), min_size=len(features), max_size=len(features)))
    groups: dict[str, list[int]] = defaultdict(list)
    for node, label in zip(features, labels, strict=True):
        if label:
            groups[label].append(node)
    return view, dict(groups)


@given(grouped_views())
def test_given_groups_when_drawn_together_then_what_enters_every_other_node_is_unchanged(
    case: tuple[GraphView, dict[str, list[int]]],
) -> None:
    view, groups = case
    together = grouped(view, groups)
    members = {node for nodes in groups.values() for node in nodes}
    for node in view.nodes.keys() - members:
        before, after = (sum(edge.share for edge in each.edges_at(node, "in")) for each in (view, together))
        assert after == pytest.approx(before, abs=1e-9)
    assert {node for node in together.nodes if node >= 0} == view.nodes.keys() - members
    assert together.roots == view.roots
    assert all(edge.source in together.nodes and edge.target in together.nodes for edge in together.edges)


@given(grouped_views())
def test_given_groups_when_drawn_together_then_raw_flow_between_any_two_is_the_sum_over_their_members(
    case: tuple[GraphView, dict[str, list[int]]],
) -> None:
    view, groups = case
    together = grouped(view, groups)
    name_of = {node: name for name, nodes in groups.items() for node in nodes}

    def raw(of: GraphView, named: Any) -> dict[tuple[Any, Any], float]:
        flow: dict[tuple[Any, Any], float] = defaultdict(float)
        for edge in of.edges:
            flow[named(edge.source), named(edge.target)] += edge.share * of.nodes[edge.target].input_size
        return {ends: size for ends, size in flow.items() if ends[0] != ends[1]}

    before = raw(view, lambda node: name_of.get(node, node))
    after = raw(together, lambda node: together.nodes[node].label or node)
    assert after == pytest.approx(before)
    for node in together.nodes.values():
        if node.kind == "supernode":
            inside = [view.nodes[member] for member in groups[node.label]]
            assert node.share == pytest.approx(sum(member.share for member in inside))
            assert node.predicted_effect == pytest.approx(sum(member.predicted_effect or 0.0 for member in inside))
            assert node.measured_effect is None and len(node.members) == len(inside)


def plain_linkage(affinity: Any, at_least: float) -> set[frozenset[int]]:
    """Average linkage, from the definition: means over all pairs, computed anew each time."""
    groups = [frozenset({number}) for number in range(len(affinity))]
    while len(groups) > 1:
        means = {(a, b): np.mean([affinity[i, j] for i in a for j in b]) for a, b in combinations(groups, 2)}
        pair = max(means, key=lambda each: means[each])
        if means[pair] < at_least:
            break
        groups = [group for group in groups if group not in pair] + [pair[0] | pair[1]]
    return {group for group in groups if len(group) > 1}


@settings(max_examples=50)
@given(views(), st.integers(0, 1000), st.floats(0.05, 0.95))
def test_given_a_graph_when_grouped_by_itself_then_it_is_average_linkage_of_what_is_written_and_of_neighbours(
    view: GraphView, seed: int, at_least: float
) -> None:
    features = [node for node, shown in view.nodes.items() if shown.kind == "feature"]
    random = np.random.default_rng(seed).standard_normal((len(features), 3))
    unit = random / np.linalg.norm(random, axis=1, keepdims=True)
    similarity = unit @ unit.T
    affinity = np.zeros((len(features), len(features)))
    for i, a in enumerate(features):
        for j, b in enumerate(features):
            ways = []
            for mine, other in (("target", "source"), ("source", "target")):
                first, second = ({getattr(e, other): e.share for e in view.edges if getattr(e, mine) == node}
                                 for node in (a, b))  # fmt: skip
                dot = sum(share * second.get(node, 0.0) for node, share in first.items())
                lengths = [sum(share**2 for share in each.values()) ** 0.5 for each in (first, second)]
                ways.append(dot / (lengths[0] * lengths[1]) if all(lengths) else 0.0)
            affinity[i, j] = (max(similarity[i, j], 0) + max(sum(ways) / 2, 0)) / 2
    found = find_groups(view, features, similarity, at_least)
    assert {frozenset(features.index(node) for node in group.nodes) for group in found} == plain_linkage(
        affinity, at_least
    )
    assert len({group.name for group in found}) == len(found)
    assert all(re.fullmatch(r"a.* L[\d-]+( \(\d\))?", group.name) for group in found)


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\x1b[31m", "a\u202eb", "a\nb", "taken"])
def test_given_a_name_that_is_none_or_taken_when_made_then_it_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        refuse_name(name, ["taken"])
    refuse_name("Paris [bold] 东京", ["taken"])
