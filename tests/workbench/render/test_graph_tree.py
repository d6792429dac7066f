"""The tree of a hand-made graph: nothing lost, nothing twice, error mass always there."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.graphs.view import EdgeView, GraphView, NodeView, Verdict
from tests.workbench.render.golden import assert_golden, printed
from workbench.tui.render.graph_tree import graph_tree, tree_row
from workbench.tui.render.tree_lines import TreeLimits, tree_lines

TOKENS = ("The", " capital", " of", " \x1b[31mFrance", " is")


def feature(node: int, layer: int, index: int, position: int, effect: float, measured: float | None) -> NodeView:
    verdict = _verdict(effect, measured)
    return NodeView(
        node, "feature", layer, position, index, 2.5, 0.2, effect, measured, verdict, promoted=(" Paris", " \u202eLyon")
    )


def _verdict(effect: float, measured: float | None) -> Verdict:
    if measured is None:
        return Verdict.UNTESTED
    return Verdict.CONFIRMED if effect * measured > 0 else Verdict.CONTRADICTED


def test_given_the_verdicts_of_a_validation_when_compared_then_the_view_knows_the_same_ones() -> None:
    from tasks.interventions import agreement

    assert [verdict.value for verdict in Verdict] == [verdict.value for verdict in agreement.Verdict]


def hand_made(measured: bool = True) -> GraphView:
    """Two features and an error feed the logit; the lower feature feeds the upper one too, so it is met twice."""
    nodes = [
        NodeView(0, "token", -1, 1, 5347, 1.0, 0.2, text=" capital"),
        NodeView(1, "token", -1, 3, 6181, 1.0, 0.3, text=TOKENS[3]),
        feature(2, 4, 91, 3, 0.84, 0.79 if measured else None),
        feature(3, 12, 345, 4, 1.31, -0.02 if measured else None),
        NodeView(4, "error", 9, 4, -1, 1.0, 0.1),
        NodeView(5, "logit", 30, 4, 7042, 0.435, 1.0, text=" Paris"),
    ]
    nodes[2] = NodeView(**{**vars(nodes[2]), "label": "places in [bold]France[/bold]"})
    edges = (
        EdgeView(3, 5, 0.52, 1.1),
        EdgeView(2, 5, -0.18, -0.4),
        EdgeView(4, 5, 0.09),
        EdgeView(2, 3, 0.61, 0.7),
        EdgeView(0, 3, 0.12),
        EdgeView(4, 3, -0.04),
        EdgeView(1, 2, 0.93),
    )
    prompt = "The capital of \x1b[31mFrance is"
    return GraphView(7, prompt, TOKENS, "neurons", {n.node: n for n in nodes}, edges, (5,), 3.1e-7, 0.61, 0.83)


@pytest.mark.parametrize("width", [80, 160])
def test_given_a_validated_graph_when_drawn_then_it_reads_as_the_golden_file(width: int) -> None:
    assert_golden("graph_tree_validated", graph_tree(hand_made(), TreeLimits(), width), width)


@pytest.mark.parametrize("width", [80, 160])
def test_given_a_graph_not_yet_validated_when_drawn_then_the_measured_column_is_absent(width: int) -> None:
    assert_golden("graph_tree_traced", graph_tree(hand_made(measured=False), TreeLimits(), width), width)


def test_given_edges_that_were_tested_when_drawn_then_their_guides_carry_the_marks() -> None:
    view = hand_made()
    marks = (Verdict.CONFIRMED, Verdict.CONTRADICTED, Verdict.UNTESTED, Verdict.WEAK)
    verdicts = [marks[number] if number < len(marks) else Verdict.UNTESTED for number in range(len(view.edges))]
    edges = tuple(replace(edge, verdict=verdict) for edge, verdict in zip(view.edges, verdicts, strict=True))
    text = printed(graph_tree(replace(view, edges=edges), TreeLimits(by="share"), 80), 80)
    assert "├✓ L12/345@4" in text and "├✗" in text and "~ L4/91@3" in text
    assert "1 of 3 confirmed" in text and "the edge measured" not in printed(graph_tree(view, TreeLimits(), 80), 80)


def test_given_a_node_met_again_when_drawn_then_it_points_back_and_is_opened_once() -> None:
    lines = tree_lines(hand_made(), 5, TreeLimits(by="share"))
    assert [line.seen for line in lines if line.node and line.node.node == 2] == [False, True]
    assert sum(line.node is not None and line.node.node == 1 for line in lines) == 1


def test_given_a_narrow_tree_when_drawn_then_the_weaker_are_counted_with_their_mass() -> None:
    text = printed(graph_tree(wide_graph(10), TreeLimits(width=3, by="share"), 80), 80)
    assert "… 7 weaker, 28.0 %" in text  # 7 + 6 + 5 + 4 + 3 + 2 + 1 per cent


def wide_graph(count: int) -> GraphView:
    """`count` features of shares count/100 … 1/100 that all feed one logit."""
    nodes = {0: NodeView(0, "logit", 2, 1, 3, 0.5, 1.0, text=" x")}
    nodes |= {i: feature(i, 1, i, 0, 0.1 * i, None) for i in range(1, count + 1)}
    edges = tuple(EdgeView(i, 0, i / 100) for i in range(1, count + 1))
    return GraphView(1, "a b", ("a", " b"), "neurons", nodes, edges, (0,), 0.0, 1.0, 1.0)


def test_given_a_share_when_drawn_then_its_colour_is_on_the_bar_alone() -> None:
    line = next(line for line in tree_lines(hand_made(), 5, TreeLimits()) if line.share is not None and line.share > 0)
    row = tree_row(line, TOKENS, 80, measured=True)
    assert not row.style
    coloured = [span for span in row.spans if "green" in str(span.style)]
    assert [(span.start, span.end) for span in coloured] == [(0, row.plain.index(" %") - 6)]


def test_given_width_zero_room_for_errors_when_drawn_then_the_error_mass_is_still_said() -> None:
    text = printed(graph_tree(hand_made(), TreeLimits(width=1, depth=1), 80), 80)
    assert "error: 9.0 % in 1 error node" in text


def test_given_the_out_direction_when_drawn_from_a_token_then_it_ends_at_the_logit() -> None:
    lines = tree_lines(hand_made(), 1, TreeLimits(direction="out"))
    assert [line.node.kind for line in lines if line.node] == ["token", "feature", "feature", "logit", "logit"]


@st.composite
def layered_graphs(draw: st.DrawFn) -> GraphView:
    """Random graphs whose edges climb: node 0 is the logit, higher numbers lie lower."""
    count = draw(st.integers(2, 12))
    kinds = draw(st.lists(st.sampled_from(["feature", "error", "token"]), min_size=count, max_size=count))
    nodes = {0: NodeView(0, "logit", 9, 0, 0, 0.5, 1.0, text="x")}
    for node, kind in enumerate(kinds, start=1):
        nodes[node] = NodeView(node, kind, 9 - node, 0, node, 1.0, 0.1, 0.5 if kind == "feature" else None)
    pairs = draw(st.sets(st.tuples(st.integers(1, count), st.integers(0, count)).filter(lambda p: p[0] > p[1])))
    shares = st.floats(-1, 1, allow_nan=False)
    edges = tuple(EdgeView(s, t, draw(shares)) for s, t in sorted(pairs) if kinds[t - 1] == "feature" or t == 0)
    return GraphView(1, "p", ("x",), "neurons", nodes, edges, (0,), 0.0, 1.0, 1.0)


@given(layered_graphs(), st.integers(1, 5), st.integers(1, 4), st.integers(40, 160))
def test_given_any_graph_when_drawn_then_each_is_opened_once_and_every_edge_of_the_root_is_accounted_for(
    view: GraphView, depth: int, width: int, columns: int
) -> None:
    limits = TreeLimits(depth=depth, width=width)
    lines = tree_lines(view, 0, limits)
    opened = [a.node.node for a, b in pairwise(lines) if a.node is not None and len(b.guides) > len(a.guides)]
    assert len(opened) == len(set(opened))
    counts = {"weaker": 0, "error": 0, "shown": 0}
    for line in lines:
        if len(line.guides) == 3 and not line.words.startswith("pruned, constants"):
            match = re.match(r"… (\d+) (weaker)|(error).* in (\d+)", line.words if line.node is None else "")
            word, number = (match[2] or match[3], int(match[1] or match[4])) if match else ("shown", 1)
            counts[word] += number
    assert sum(counts.values()) == len(view.edges_at(0, "in"))
    assert all(len(line) <= columns for line in graph_tree(view, limits, columns).plain.splitlines())
