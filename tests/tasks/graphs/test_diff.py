"""The difference of two graphs, against sets written out by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.graphs import GraphRecord
from tasks.graphs.diff import Side, diff
from tasks.graphs.view import EdgeView, GraphView, NodeView

TARGET = {"id": 9, "value": 1.0, "token": "x"}
RECORD = GraphRecord(1, "p", [1, 2, 3], "sae", [TARGET], "ray", 0.0, 0.5, 0.9, {}, 9, 0, 0, None)


def side(graph: int, tokens: tuple[str, ...], nodes: list[NodeView], edges: tuple[EdgeView, ...] = ()) -> Side:
    """A graph with a logit at its last position, node 0."""
    logit = NodeView(0, "logit", 9, len(tokens) - 1, 9, 0.4, 1.0, text="x")
    every = {node.node: node for node in [logit, *nodes]}
    view = GraphView(graph, "p", tokens, "sae", every, edges, (0,), 0.0, 0.5, 0.9)
    return Side(replace(RECORD, id=graph), view)


def feature(node: int, layer: int, position: int, index: int, share: float, effect: float | None) -> NodeView:
    """A kept feature."""
    return NodeView(node, "feature", layer, position, index, 1.0, share, effect)


A = side(1, ("the", " cat", " sat"), [feature(1, 4, 2, 7, 2.0, 0.5), feature(2, 4, 1, 7, -1.0, 0.25),
                                      NodeView(5, "token", -1, 1, 11, 0.0, 0.3)],
         (EdgeView(1, 0, 0.5, 0.4), EdgeView(2, 1, -0.25, None)))  # fmt: skip
B = side(2, ("one", "the", " dog", " sat"), [feature(8, 4, 3, 7, 1.0, -0.5), feature(9, 5, 2, 7, 3.0, 1.0),
                                             NodeView(5, "token", -1, 2, 12, 0.0, 0.3)],
         (EdgeView(8, 0, 0.25, 0.1), EdgeView(9, 0, 0.5, 0.2)))  # fmt: skip


def test_given_prompts_of_other_lengths_when_compared_then_nodes_meet_by_their_offset_from_the_end() -> None:
    found = diff(A, B)
    where = {pair.name: pair.where for pair in found.nodes if pair.key[0] == "feature"}
    assert where == {"L4/7@-1": "both", "L4/7@-2": "a", "L5/7@-2": "b"}
    assert [pair.name for pair in found.nodes if pair.key[0] == "feature"] == ["L4/7@-1", "L5/7@-2", "L4/7@-2"]
    both = next(pair for pair in found.nodes if pair.name == "L4/7@-1")
    assert both.number("share") == (2.0, 1.0, -1.0)
    assert both.number("predicted_effect") == (0.5, -0.5, -1.0)
    assert both.number("measured_effect") == (None, None, None)
    assert found.tokens == ((-4, None, "one"), (-2, " cat", " dog"))
    assert [pair.where for pair in found.nodes if pair.key[0] == "token"] == ["a", "b"]
    assert [pair.where for pair in found.nodes if pair.key[0] == "target"] == ["both"]


def test_given_two_graphs_when_compared_then_agreement_is_counted_and_weighed() -> None:
    found = diff(A, B)
    assert (found.features.both, found.features.only_a, found.features.only_b) == (1, 1, 1)
    assert found.features.jaccard == pytest.approx(1 / 3)
    assert found.features.weighted_by_share == pytest.approx(1.0 / (2.0 + 1.0 + 3.0))
    assert found.features.weighted_by_effect == pytest.approx(0.0)  # the signs of the one in both differ
    assert (found.edges.both, found.edges.only_a, found.edges.only_b) == (1, 1, 1)
    assert found.edges.weighted_by_share == pytest.approx(0.25 / (0.5 + 0.25 + 0.5))
    assert found.edges.weighted_by_effect is None  # one is not known
    names = [(edge["source"], edge["target"], edge["share_change"]) for edge in found.edge_changes]
    assert names == [("L5/7@-2", "9", 0.5), ("L4/7@-1", "9", -0.25), ("L4/7@-2", "L4/7@-1", 0.25)]
    assert len(diff(A, B, max_edges=1).edge_changes) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dictionary": "neurons"}, "the dictionaries differ (sae, neurons)"),
        ({"rule": "half"}, "the rules differ (ray, half)"),
        ({"summary": {"model": {"scan": "other"}}}, "the models differ"),
        ({"targets": [{"id": 8, "value": 1.0, "token": "y"}]}, "the targets differ"),
    ],
)
def test_given_graphs_that_do_not_mean_the_same_when_compared_then_it_is_said(
    change: dict[str, object], words: str
) -> None:
    other = Side(replace(B.record, **change), B.view)  # type: ignore[arg-type]
    (warning,) = diff(A, other).warnings
    assert warning.startswith(words)
    assert diff(A, B).warnings == ()


shares = st.floats(-2, 2, allow_nan=False)
sides = st.dictionaries(st.integers(0, 5), st.tuples(shares, shares), max_size=5).map(
    lambda kept: side(1, ("a", "b"), [feature(i + 1, 3, 1, i, *numbers) for i, numbers in kept.items()])
)


@given(sides, sides)
def test_given_any_two_graphs_when_the_order_is_turned_then_the_difference_is_turned(a: Side, b: Side) -> None:
    one, other = diff(a, b), diff(b, a)
    assert one.features.jaccard == other.features.jaccard
    assert one.features.weighted_by_share == pytest.approx(other.features.weighted_by_share)
    assert (one.features.only_a, one.features.only_b) == (other.features.only_b, other.features.only_a)
    changes = {pair.key: pair.number("share")[2] for pair in one.nodes}
    assert {pair.key: pair.number("share")[2] for pair in other.nodes} == {k: -(v or 0.0) for k, v in changes.items()}
    same = diff(a, a)
    assert (same.features.jaccard, same.features.weighted_by_share) == (1.0, 1.0)
