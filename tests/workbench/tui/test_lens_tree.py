"""The tree opened by hand: each node open at one place, every path kept, and a way to every node."""

from __future__ import annotations

import json

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.graphs.lens import lens
from tests.tasks.graphs.open_graphs import opened
from workbench.tui.panes.graph.lens_tree import LensTree, Look
from workbench.tui.panes.graph.reading import read_thresholds, stepped


def tree_of(seed: int) -> LensTree:
    graph, _ = opened(seed)
    return LensTree(lens(graph, graph.stored_nodes, graph.stored_edges))


@given(
    st.integers(0, 3000),
    st.lists(st.tuples(st.sampled_from(["open", "close", "more"]), st.integers(0, 30)), max_size=25),
)
@settings(deadline=None)
def test_given_any_opening_and_closing_when_drawn_then_each_node_is_open_once_and_references_lead_to_it(
    seed: int, steps: list[tuple[str, int]]
) -> None:
    tree = tree_of(seed)
    for what, at in steps:
        line = tree.lines[at % len(tree)]
        if what == "more" or line.node is None:
            tree.show_more(line.path[-1])
        elif what == "open" and not line.seen and tree.lens.degree(line.node.node, "in"):
            tree.open(line.path)
        elif what == "close":
            tree.close(line.path)
        paths = [line.path for line in tree.lines if line.node is not None]
        assert len(paths) == len(set(paths))
        opened_nodes = [path[-1] for path in paths if tree.opens(path)]
        assert len(opened_nodes) == len(set(opened_nodes))
        for line in tree.lines:
            if line.seen and line.node is not None:
                assert tree.opens(tree.place_of(line.node.node)) and tree.index_of(tree.place_of(line.node.node)) >= 0
            assert line.node is None or tree.index_of(line.path) >= 0


@given(st.integers(0, 3000), st.sampled_from(["in", "out"]))
@settings(deadline=None)
def test_given_any_node_with_a_way_to_the_root_when_revealed_then_the_cursor_is_on_it(
    seed: int, direction: str
) -> None:
    tree = tree_of(seed)
    if direction == "out":
        tokens = [node.node for node in tree.lens.nodes.values() if node.kind == "token"]
        tree.root_at(tuple(tokens), "out")
    ways = nx.DiGraph(zip(tree.lens.source.tolist(), tree.lens.target.tolist(), strict=True))
    ways.add_nodes_from(tree.lens.nodes)
    reach = nx.ancestors if direction == "in" else nx.descendants
    reached = set(tree.roots).union(*(reach(ways, root) for root in tree.roots))
    for node, view in tree.lens.nodes.items():
        if view.kind == "feature":
            index = tree.reveal(node)
            assert (index >= 0) == (node in reached)
            assert index < 0 or tree.node_at(index) == view
    assert tree.reveal(10**6) == -1


@given(st.integers(0, 3000))
@settings(deadline=None)
def test_given_a_look_when_written_and_read_then_the_lines_are_the_same(seed: int) -> None:
    tree = tree_of(seed)
    for index in (1, 3, 2):
        if index < len(tree) and tree.lines[index].node is not None:
            tree.open(tree.lines[index].path)
    again = LensTree(tree.lens, Look.read(json.loads(json.dumps(tree.look.document()))))
    assert [line.path for line in again.lines] == [line.path for line in tree.lines]


def test_given_a_look_that_does_not_fit_when_read_then_the_tree_is_as_just_opened() -> None:
    for document in (
        {"roots": "x"},
        {"opened": {"a": [1]}},
        {"opened": [1]},
        {"widths": {"1": None}},
        {"roots": [None]},
    ):
        assert Look.read(document) == Look()
    tree = tree_of(1)
    strange = LensTree(tree.lens, Look(roots=(10**6,), opened={10**6: (10**6,)}))
    assert strange.roots == tree.roots and len(strange.lines) >= len(strange.roots)


def test_given_another_lens_when_drawn_then_what_is_open_stays_open_as_far_as_it_is_there() -> None:
    seeds = (
        seed for seed in range(99) if any(line.node and line.node.kind == "feature" for line in tree_of(seed).lines)
    )
    graph, _ = opened(next(seeds))
    tree = LensTree(lens(graph, graph.stored_nodes, graph.stored_edges))
    feature = next(line.node.node for line in tree.lines if line.node is not None and line.node.kind == "feature")
    tree.open(tree.lines[tree.index_of_node(feature)].path)
    before = [line.path for line in tree.lines]
    tree.lens = lens(graph, graph.stored_nodes, graph.stored_edges, pinned=[feature], only_pinned=True)
    tree.rebuild()
    assert len(tree) < len(before) and tree.index_of_node(feature) >= 0
    tree.lens = lens(graph, graph.stored_nodes, graph.stored_edges)
    tree.rebuild()
    assert [line.path for line in tree.lines] == before


@given(st.floats(0.1, 1.0), st.lists(st.sampled_from([-1, 1]), max_size=40))
def test_given_any_steps_when_taken_then_a_threshold_stays_within_bounds(start: float, steps: list[int]) -> None:
    value = start
    for step in steps:
        moved = stepped(value, step)
        assert 0.1 <= moved <= 1.0 and ((moved - value) * step >= -1e-4)
        value = moved


def test_given_fine_steps_near_one_when_taken_there_and_back_then_they_end_where_they_began() -> None:
    value = 0.8
    for step in [1] * 15 + [-1] * 15:
        value = stepped(value, step)
    assert value == 0.8 and stepped(0.98, 1) == 0.982 and stepped(0.982, -1) == 0.98 and stepped(0.98, -1) == 0.96
    assert read_thresholds("0.8, 0.9") == (0.8, 0.9)
