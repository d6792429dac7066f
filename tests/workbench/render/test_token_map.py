"""The layer × token map in a terminal: each place that has something is marked, in any width."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.workbench.figures.graphs import hostile_graph, random_graph
from tests.workbench.render.golden import assert_golden
from tests.workbench.render.test_graph_tree import hand_made
from workbench.tui.render.token_map import map_cells, token_map


@pytest.mark.parametrize("width", [80, 160])
def test_given_a_graph_when_mapped_then_it_reads_as_the_golden_file(width: int) -> None:
    assert_golden("token_map", token_map(random_graph(60), width), width)


def test_given_a_cell_when_summed_then_it_is_the_effects_of_its_features() -> None:
    view = random_graph(200)
    for (layer, position), cell in map_cells(view.nodes.values()).items():
        here = [n for n in view.nodes.values() if (n.layer, n.position) == (layer, position)]
        features = [n for n in here if n.kind == "feature"]
        assert (cell.features, cell.errors) == (len(features), sum(n.kind == "error" for n in here))
        assert cell.value == pytest.approx(sum(n.predicted_effect or 0.0 for n in features))


def test_given_shares_that_are_not_known_when_mapped_then_the_cells_are_still_there() -> None:
    view = hand_made()
    nodes = {n: replace(node, share=float("nan"), predicted_effect=None) for n, node in view.nodes.items()}
    shown = token_map(replace(view, nodes=nodes), 80).plain
    assert shown.count("·") >= 2 and "nan" not in shown


def test_given_a_selected_node_when_mapped_then_its_cell_alone_is_in_reverse() -> None:
    def reversed_cells(selected: int | None) -> list[str]:
        shown = token_map(hand_made(), 80, selected)
        return [shown.plain[span.start : span.end] for span in shown.spans if "reverse" in str(span.style)]

    assert reversed_cells(None) == []
    assert reversed_cells(3) == ["●"]


def test_given_a_long_prompt_when_mapped_then_it_says_which_tokens_are_shown() -> None:
    shown = token_map(random_graph(30, n_tokens=100), 80).plain
    assert "tokens 82 to 99 of 100" in shown


@given(st.integers(20, 200), st.integers(1, 60), st.integers(0, 5))
def test_given_any_width_when_mapped_then_no_line_is_wider(width: int, n_tokens: int, seed: int) -> None:
    for view in (random_graph(20, n_tokens=n_tokens, seed=seed), hostile_graph()):
        assert all(cell_len(line) <= width for line in token_map(view, width).plain.splitlines())
