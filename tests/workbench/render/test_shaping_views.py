"""The views of scores, supernodes, differences and recurrence, as they were when a person found them right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from store.graphs import GraphRecord
from tasks.graphs.diff import Side, diff
from tasks.graphs.recurrence import PromptFeature, PromptGraph, recurrence
from tasks.graphs.supernodes import grouped, supernode_document
from tasks.graphs.view import GraphView
from tests.workbench.render.golden import assert_golden, printed
from tests.workbench.render.test_graph_tree import hand_made
from workbench.tui.render.graph_diff import diff_view
from workbench.tui.render.graph_score import score_view
from workbench.tui.render.graph_tree import graph_tree
from workbench.tui.render.recurrence import recurrence_view
from workbench.tui.render.supernodes import supernode_view
from workbench.tui.render.tree_lines import TreeLimits

WIDTHS = [80, 160]
HOSTILE = "places \x1b[31m[/INST]\u202e"
TARGET = {"id": 7042, "token": " Paris", "value": 3.25, "rival_id": None}
RECORD = GraphRecord(7, "The capital of \x1b[31mFrance is", [1, 2, 3, 4, 5], "neurons", [TARGET], "ray", 3.1e-7, 0.61,
                     0.83, {"node_threshold": 0.8, "edge_threshold": 0.98}, 30, 6, 7, None)  # fmt: skip
PART = {"features": 177, "edges": 16895, "replacement_score": 0.564, "completeness_score": 0.825,
        "renormalised_replacement_score": 0.855, "renormalised_completeness_score": 0.945}  # fmt: skip
SCORES = {
    "graph": 2, "closing_error": 8.8e-7, "unattributed_share": 0.027, "unreplaced_share": None,
    "whole": PART | {"features": 1000, "edges": 282334, "replacement_score": 0.855, "completeness_score": 0.95},
    "pruned": PART, "chosen": PART | {"features": 2, "replacement_score": 0.0, "completeness_score": 0.31},
}  # fmt: skip


def other_graph() -> GraphView:
    """The hand-made graph without its upper feature, the lower one's effect turned, on another country."""
    view = hand_made()
    nodes = {number: node for number, node in view.nodes.items() if number != 3}
    nodes[2] = replace(nodes[2], predicted_effect=-0.25, share=-0.1)
    tokens = (*view.tokens[:3], " Italy[/]", view.tokens[4])
    edges = tuple(edge for edge in view.edges if 3 not in (edge.source, edge.target))
    return replace(view, graph=8, nodes=nodes, edges=edges, tokens=tokens)


def prompts() -> list[PromptGraph]:
    """Three prompts of which two agree on one feature at their ends."""
    active = np.array([(4, index, position) for index in range(40) for position in range(5)])
    kept = [PromptFeature(4, 7, 4, 0.5, 1.0), PromptFeature(4, 9, 2, -0.5, None)]
    names = ("The capital of France is", HOSTILE, "c")
    features: tuple[list[PromptFeature], ...] = (kept, [replace(kept[0], share=-0.2)], [])
    return [PromptGraph(name, 5, each, active) for name, each in zip(names, features, strict=True)]


@pytest.mark.parametrize("width", WIDTHS)
def test_given_scores_when_drawn_then_they_read_as_the_golden_file(width: int) -> None:
    assert_golden("graph_score", score_view(SCORES), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_given_two_graphs_when_drawn_then_they_read_as_the_golden_file(width: int) -> None:
    other = replace(RECORD, id=8, dictionary="sae", prompt="The capital of Italy[/] is", summary={})
    found = diff(Side(RECORD, hand_made()), Side(other, other_graph()))
    assert_golden("graph_diff", diff_view(found, width), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_given_supernodes_when_drawn_then_they_read_as_the_golden_file(width: int) -> None:
    view = hand_made()
    document = supernode_document(view, {HOSTILE: [2, 3], "inputs": [0]})
    assert_golden("supernodes", supernode_view(document, width), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_given_a_graph_drawn_together_when_drawn_then_it_reads_as_the_golden_file(width: int) -> None:
    view = grouped(hand_made(), {HOSTILE: [2, 3]})
    assert_golden("graph_tree_grouped", graph_tree(view, TreeLimits(), width), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_given_recurrence_when_drawn_then_it_reads_as_the_golden_file(width: int) -> None:
    document = recurrence(prompts()).document(at_least=1)
    assert_golden("recurrence", recurrence_view(document, width, {(4, 7): HOSTILE}), width)


def test_given_nothing_that_comes_back_when_drawn_then_it_is_said() -> None:
    text = printed(recurrence_view(recurrence(prompts()[1:]).document(), 80), 80)
    assert "none comes back" in text and "\x1b" not in text
