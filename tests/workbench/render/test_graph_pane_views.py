"""What the graph pane draws, without an app: cards, the lines of numbers, cells, two logits, lines of graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from store.features import FeatureRecord
from store.graphs import GraphRecord
from tasks.graphs.influence import Scores
from tasks.graphs.subgraph import PartScores
from tasks.graphs.view import EdgeView, NodeView, Verdict
from tests.workbench.figures.graphs import HOSTILE, hostile_graph, random_graph
from tests.workbench.render.golden import assert_golden, printed
from tests.workbench.render.test_graph_tree import TOKENS, hand_made
from workbench.tui.render.graph_list import graph_line
from workbench.tui.render.graph_shape import ShapeFacts, score_line, shape_line
from workbench.tui.render.logit_difference import logit_difference_view
from workbench.tui.render.node_card import NodeFacts, cell_card, histogram_lines, node_card
from workbench.tui.render.token_map import cell_words, map_cells, map_rows, position_at

KNOWN = FeatureRecord(
    1, 1, "sae", 12, 345, "places in [bold]France[/bold]", 0.0125, 8.0, 1.5, [0] * 8 + [40, 300, 90, 5, 0, 1] + [0] * 6,
    [(" Paris", 1.5), (" \u202eLyon", 0.75)], [("\x1b[31m", -0.5)], [" France", " \x1b]52;c;AAAA\x07"], [],
)  # fmt: skip
SHAPE = ShapeFacts(397, 1342, 35571, 406288, 0.8, 0.98, "in", "effect", 0.655, 0.85)
PART = PartScores(3, 60, Scores(0.275, 0.639), Scores(0.925, 0.963))


def facts(kind: str) -> NodeFacts:
    """The facts of one node of the hand-made graph."""
    view = hand_made()
    node = next(node for node in view.nodes.values() if node.kind == kind and node.node != 2)
    edge = next((edge for edge in view.edges if edge.source == node.node), None)
    if edge is not None and kind == "feature":
        edge = replace(edge, direct_effect=0.9, total_effect=-0.02, verdict=Verdict.CONFIRMED)
    return NodeFacts(
        node=node, tokens=TOKENS, unit="·Paris", n_in=3, n_out=1, feature=KNOWN if kind == "feature" else None,
        activations=(0.0, 0.5, 0.0, 2.5, 1.0) if kind == "feature" else (), edge=edge,
        above=view.nodes[edge.target] if edge else None, pinned=True, selected=True, group="capitals [/INST]",
    )  # fmt: skip


@pytest.mark.parametrize("width", [40, 70])
@pytest.mark.parametrize("kind", ["feature", "logit", "error", "token"])
def test_given_a_node_when_its_card_is_drawn_then_it_reads_as_the_golden_file(kind: str, width: int) -> None:
    assert_golden(f"node_card_{kind}", Group(*node_card(facts(kind), width)), width)


def test_given_a_feature_without_an_index_when_its_card_is_drawn_then_it_says_what_makes_one() -> None:
    bare = replace(facts("feature").node, label="", promoted=(), fires_on=(), measured_effect=None)
    text = printed(Group(*node_card(replace(facts("feature"), node=bare, feature=None), 70)), 70)
    assert "`workbench index`" in text and "V validates the graph" in text


@given(st.integers(12, 120), st.sampled_from(range(6)))
def test_given_hostile_words_when_a_card_is_drawn_then_no_line_is_wider_or_sends_a_control(
    width: int, node: int
) -> None:
    view = hostile_graph()
    known = replace(
        KNOWN, label=HOSTILE, promoted=[(HOSTILE, 1.0)], suppressed=[(HOSTILE, 1.0)], fires_on=[HOSTILE, "宽宽"]
    )
    edge = EdgeView(0, 5, 0.5, 0.4, 0.1, 0.2, Verdict.WEAK)
    shown = NodeFacts(view.nodes[node], view.tokens, "x", 1, 2, known, (1.0, -2.0), edge, view.nodes[5], group=HOSTILE)
    cells = cell_card(list(view.nodes.values()), view.tokens, width)
    for line in [*node_card(shown, width), *cells]:
        assert all(character.isprintable() for character in line.plain)
        assert cell_len(line.plain) <= max(width, 24)


def test_given_an_activation_when_marked_in_its_histogram_then_the_caret_is_under_its_octave() -> None:
    bars, caret = histogram_lines(KNOWN.histogram, 1.5, 60)  # 1.5 lies in [1, 2): bin 10, the third from bin 8
    assert caret.plain.index("▲") == len("corpus     ") + 2 and bars.plain.startswith("corpus     ▆█▇▃ ▁")
    lowest = histogram_lines(KNOWN.histogram, 1e-9, 60)[1].plain
    assert lowest.index("▲") == len("corpus     ")
    assert "▲" in histogram_lines([0] * 20, 0.0, 60)[1].plain


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_given_how_a_graph_is_looked_at_when_said_in_two_lines_then_they_fit_and_say_it(width: int) -> None:
    busy = replace(
        SHAPE, n_pinned=2, n_selected=1, only_pinned=True, grouped=True, changed=True, pending=True, chosen=PART
    )
    for shape in (SHAPE, busy, replace(busy, chosen=None), replace(SHAPE, node_threshold=None, edge_threshold=None)):
        lines = [shape_line(shape, width), score_line(shape, width)]
        assert all(line.cell_len <= width for line in lines)
    assert "397" in shape_line(SHAPE, width).plain and "[0.80]" in shape_line(SHAPE, width).plain
    assert "2 pinned, 1 selected" in score_line(busy, width).plain


def test_given_room_when_said_then_the_scores_are_whole() -> None:
    chosen = replace(SHAPE, n_pinned=2, n_selected=1, chosen=PART, direction="out", by="share", changed=True)
    assert shape_line(chosen, 160).plain == (
        "397 of 1342 nodes [0.80]  35571 of 406288 edges {0.98}  consequences, by share  w writes it as a graph"
    )
    assert "replacement 0.275 completeness 0.639 (renormalised 0.925 0.963)" in score_line(chosen, 160).plain
    assert "[0.984]" in shape_line(replace(SHAPE, node_threshold=0.984), 160).plain


@pytest.mark.parametrize("width", [60, 110])
def test_given_two_logits_when_compared_then_it_reads_as_the_golden_file(width: int) -> None:
    view = hand_made()
    ends = (view.nodes[5], replace(view.nodes[5], text=" \x1b[31mLyon", activation=0.1))
    parts = [(view.nodes[3], 1.5, -0.5), (view.nodes[1], 0.25, 0.5), (view.nodes[4], -0.125, 0.0)]
    assert_golden("logit_difference", logit_difference_view(ends, parts, (7, -0.25), TOKENS, width), width)


def test_given_nothing_to_compare_when_drawn_then_there_are_only_the_headings() -> None:
    view = hand_made()
    text = printed(logit_difference_view((view.nodes[5], view.nodes[5]), [], (0, 0.0), TOKENS, 80), 80)
    assert len(text.splitlines()) == 2


@given(st.integers(20, 160))
def test_given_a_graph_when_listed_in_a_line_then_it_fits(width: int) -> None:
    record = GraphRecord(3, HOSTILE, [1], HOSTILE, [], "ray", 0.0, 0.5, float("nan"), {}, 3, 12, 90, None)
    line = graph_line(record, width)
    assert cell_len(line.plain) <= width and line.plain.isprintable()


@given(st.integers(20, 200), st.integers(1, 60), st.integers(0, 59))
def test_given_a_cursor_when_the_map_follows_it_then_its_token_is_shown_and_found_under_its_column(
    width: int, n_tokens: int, at: int
) -> None:
    view = random_graph(30, n_tokens=n_tokens)
    cells = map_cells(view.nodes.values())
    layer, position = next(iter(cells))[0], at % n_tokens
    rows = map_rows(cells, view.tokens, width, (layer, position), follow=True)
    assert all(cell_len(text.plain) <= width for _, text in rows)
    line = next(text for row, text in rows if row == layer)
    reverse = [span.start for span in line.spans if "reverse" in str(span.style)]
    assert len(reverse) == 1
    assert position_at(n_tokens, width, (layer, position), reverse[0]) == position
    assert position_at(n_tokens, width, (layer, position), 2) is None


def test_given_cells_when_put_into_words_then_features_errors_and_nothing_are_told_apart() -> None:
    cells = map_cells(hand_made().nodes.values())
    assert cell_words(cells[12, 4]) == "1 feature +1.310 nats"
    assert cell_words(cells[9, 4]) == "1 error"
    assert cell_words(None) == "nothing"
    assert cell_card([], TOKENS, 40)[0].plain == "nothing is drawn here"
    several = [NodeView(n, "feature", 1, 0, n, 1.0, 0.1, effect) for n, effect in enumerate((0.25, -0.5, None))]
    order = [line.plain for line in cell_card(several, TOKENS, 40)[1:]]
    assert [name in line for name, line in zip(("L1/1", "L1/0", "L1/2"), order, strict=True)] == [True] * 3
    assert isinstance(cell_card(several, TOKENS, 40)[0], Text)
