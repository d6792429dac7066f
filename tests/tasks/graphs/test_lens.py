"""A graph shaped by arrays shows what the view by objects shows; pins and groups change just what they say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.graphs import FeatureWords
from tasks.graphs.lens import Lens, lens
from tasks.graphs.open_graph import OpenGraph
from tasks.graphs.prune import Pruner
from tasks.graphs.supernodes import grouped
from tasks.graphs.view import Children, TreeSource
from tests.tasks.graphs.open_graphs import opened

seeds = st.integers(0, 10_000)


def stored(graph: OpenGraph, **shape: Any) -> Lens:
    return lens(graph, graph.stored_nodes, graph.stored_edges, **shape)


def said(found: Children, source: TreeSource) -> list[Any]:
    """Children with their numbers, by what the nodes are called."""
    shown = [
        (source.nodes[edge.source].name, source.nodes[edge.target].name, *np.round([edge.share, edge.effect or 0], 5))
        for edge in found.shown
    ]  # fmt: skip
    masses = [found.hidden_mass, found.error_mass, found.error_share, found.mass]
    return [*shown, found.n_hidden, found.n_errors, *np.round(masses, 5).tolist()]


@given(seeds, st.integers(1, 5), st.sampled_from(["in", "out"]), st.sampled_from(["effect", "share"]))
@settings(deadline=None)
def test_given_a_stored_graph_when_read_by_arrays_then_every_node_has_what_the_view_says(
    seed: int, width: int, direction: str, by: str
) -> None:
    graph, view = opened(seed)
    drawn = stored(graph)
    assert dict(drawn.nodes) == dict(view.nodes)
    for node in view.nodes:
        always = {edge.source for edge in view.edges_at(node, "in")[:1]}
        mine, theirs = (each.children(node, direction, by, width, always) for each in (drawn, view))
        assert said(mine, drawn) == said(theirs, view)
        assert drawn.degree(node, direction) == view.degree(node, direction)


@given(seeds, st.integers(1, 4))
@settings(deadline=None)
def test_given_supernodes_when_drawn_together_then_the_sums_are_those_of_the_grouped_view(
    seed: int, width: int
) -> None:
    graph, view = opened(seed)
    features = [node for node, shown in view.nodes.items() if shown.kind == "feature"]
    groups = {"one": features[:2], "two": features[3:5], "gone": []}
    together, drawn = grouped(view, groups), stored(graph, groups=groups)
    number = {node.name or f"logit {node.node}": node.node for node in together.nodes.values()}
    for node in drawn.nodes.values():
        other = number[node.name or f"logit {node.node}"]
        for direction in ("in", "out"):
            mine, theirs = (
                drawn.children(node.node, direction, "share", width),
                together.children(other, direction, "share", width),
            )
            ranked = [
                sorted(map(str, said(found, source)[: len(found.shown)]))
                for found, source in ((mine, drawn), (theirs, together))
            ]
            assert ranked[0] == ranked[1]
            assert said(mine, drawn)[len(mine.shown) :] == said(theirs, together)[len(theirs.shown) :]


@given(seeds)
@settings(deadline=None)
def test_given_a_pinned_node_that_pruning_took_when_drawn_then_it_brings_its_edges_to_all_that_is_drawn(
    seed: int,
) -> None:
    graph, view = opened(seed)
    raw, kept = graph.raw, set(view.nodes)
    gone = [node for node in range(raw.first_token) if node not in kept][:2]
    drawn = stored(graph, pinned=gone)
    assert set(drawn.nodes) == kept | set(gone)
    every = set(zip(raw.source.tolist(), raw.target.tolist(), strict=True))
    there = {(edge.source, edge.target) for edge in view.edges}
    expected = there | {(s, t) for s, t in every if {s, t} <= kept | set(gone) and {s, t} & set(gone)}
    assert set(zip(drawn.source.tolist(), drawn.target.tolist(), strict=True)) == expected


@given(seeds)
@settings(deadline=None)
def test_given_pinned_only_when_drawn_then_tokens_and_targets_stay_and_no_other_feature_or_error(seed: int) -> None:
    graph, view = opened(seed)
    features = [node for node, shown in view.nodes.items() if shown.kind == "feature"]
    drawn = stored(graph, pinned=features[:2], only_pinned=True)
    leaves = {node for node, shown in view.nodes.items() if shown.kind in ("token", "logit")}
    assert set(drawn.nodes) == leaves | set(features[:2])
    assert drawn.n_kept_edges == sum({edge.source, edge.target} <= set(drawn.nodes) for edge in view.edges)


@given(seeds, st.floats(0.1, 1.0), st.floats(0.1, 1.0))
@settings(deadline=None)
def test_given_other_thresholds_when_shaped_then_every_node_drawn_can_be_reached_and_read(
    seed: int, node_threshold: float, edge_threshold: float
) -> None:
    graph, _ = opened(seed)
    pruned = Pruner(graph.raw).prune(node_threshold, edge_threshold)
    drawn = lens(graph, pruned.node_kept, pruned.edges)
    assert [node.node for node in drawn.drawn_nodes()] == pruned.node_kept.nonzero()[0].tolist()
    for node, view in drawn.nodes.items():
        if view.kind in ("feature", "error"):
            route = drawn.strongest_route(node, graph.roots, "in")
            assert route[0] in graph.roots and route[-1] == node
            pairs = set(zip(drawn.target.tolist(), drawn.source.tolist(), strict=True))
            assert all(step in pairs for step in pairwise(route))


def test_given_names_when_looked_up_then_each_drawn_node_is_found_and_strangers_are_not() -> None:
    graph, view = opened(7)
    for node in view.nodes.values():
        assert node.kind == "logit" or graph.find(node.name) == node.node
    assert [graph.find(name) for name in ("L0/999@0", "@99", "L99@0", "French", "", "L0/1")] == [-1] * 6


def test_given_what_a_target_is_given_when_summed_then_it_is_the_raw_shares_of_its_edges() -> None:
    graph, view = opened(3)
    drawn, root = stored(graph), graph.roots[0]
    raw = {
        int(s): float(v)
        for s, t, v in zip(graph.raw.source, graph.raw.target, graph.raw.share, strict=True)
        if t == root
    }
    assert drawn.gifts(root) == pytest.approx(
        {edge.source: raw[edge.source] for edge in view.edges_at(root, "in")}, rel=1e-5
    )


def test_given_words_that_are_learnt_when_a_node_is_read_again_then_it_has_them_and_asks_once() -> None:
    graph, _ = opened(5)
    features = np.arange(graph.raw.n_features)
    wanted = graph.unknown_words(features)
    assert wanted and wanted.isdisjoint(graph.words)
    graph.asked(wanted)
    assert not graph.unknown_words(features)
    place = next(iter(wanted))
    node = next(n for n in features.tolist() if (graph.node(n).layer, graph.node(n).feature) == place)
    assert graph.node(node).label == ""
    graph.learn({place: FeatureWords("capitals", [], [])})
    assert graph.node(node).label == "capitals"


def test_given_a_feature_that_is_active_at_several_positions_when_asked_then_its_activations_lie_there() -> None:
    graph, _ = opened(5)
    layer, index = int(graph.raw.layer[0]), int(graph.numbers.index[0])
    values = graph.activations(layer, index)
    assert len(values) == graph.raw.n_positions
    assert values[int(graph.raw.position[0])] == 1.0 and sum(values) == 1.0
