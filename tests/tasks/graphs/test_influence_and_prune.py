"""Influence, scores and pruning on random layered graphs, against dense matrices and loops."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from benchmarks.large_graph import large_graph
from tasks.graphs import strips
from tasks.graphs.cutoff import smallest_kept
from tasks.graphs.influence import layered_edges, scores
from tasks.graphs.prune import Pruned, Pruner, prune
from tasks.graphs.raw import RawGraph, raw_graph
from tasks.graphs.stretches import Stretches
from tasks.graphs.strips import Strips, n_cells

seeds = st.integers(0, 100_000)
thresholds = st.floats(0.0, 1.0)


def random_graph(seed: int, n_layers: int = 3, n_positions: int = 3, density: float = 0.5) -> RawGraph:
    """A random graph: edges run upwards in layers and forwards in positions, as in a model."""
    random = np.random.default_rng(seed)
    n_features, n_logits = int(random.integers(0, 13)), int(random.integers(1, 4))
    layer = np.sort(random.integers(0, n_layers, n_features))
    position = random.integers(0, n_positions, n_features)

    def with_edges(source: Any, target: Any) -> RawGraph:
        share = random.standard_normal(len(source)).astype(np.float32)
        return raw_graph(
            layer=layer, position=position, n_layers=n_layers, n_positions=n_positions,
            targets=[(n_layers, n_positions - 1)] * n_logits, probabilities=[(k + 1) / 7 for k in range(n_logits)],
            edges=(source, target, share),
        )  # fmt: skip

    nodes = with_edges(np.empty(0, int), np.empty(0, int))
    is_target = np.ones(nodes.n_nodes, dtype=bool)
    is_target[nodes.first_error : nodes.first_target] = False
    above = nodes.layer[:, None] > nodes.layer[None]
    after = nodes.position[:, None] >= nodes.position[None]
    possible = is_target[:, None] & above & after & (random.random((nodes.n_nodes, nodes.n_nodes)) < density)
    target, source = possible.nonzero()
    order = random.permutation(len(source))
    return with_edges(source[order], target[order])


def dense(graph: RawGraph, kept: Any = None) -> Any:
    """|A| with rows normalised, [target, source], float64."""
    matrix = np.zeros((graph.n_nodes, graph.n_nodes))
    chosen = slice(None) if kept is None else kept
    matrix[graph.target[chosen], graph.source[chosen]] = np.abs(graph.share[chosen])
    return matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-10)


def power_series(fraction: Any, weights: Any) -> Any:
    """wÂ + wÂ² + … until nothing is left."""
    total, term = np.zeros_like(weights), weights
    for _ in range(len(weights)):
        term = term @ fraction
        total = total + term
    return total


@given(seed=seeds)
def test_influence_is_the_power_series(seed: int) -> None:
    graph = random_graph(seed)
    edges = layered_edges(graph)
    found = edges.influence(edges.fractions(), graph.weight)
    np.testing.assert_allclose(found, power_series(dense(graph), graph.weight.astype(float)), rtol=1e-6, atol=1e-9)


@given(seed=seeds)
def test_scores_are_their_formulas_on_the_dense_matrix(seed: int) -> None:
    graph = random_graph(seed, density=0.8)
    fraction, weights = dense(graph), graph.weight.astype(float)
    total = power_series(fraction, weights)
    errors = slice(graph.first_error, graph.first_token)
    of_tokens, of_errors = total[graph.first_token : graph.first_target].sum(), total[errors].sum()
    output = total + weights
    completeness = (output * (1 - fraction[:, errors].sum(1))).sum() / output.sum()
    found = scores(graph)
    assert found.replacement == pytest.approx(of_tokens / max(of_tokens + of_errors, 1e-10), abs=1e-9)
    assert found.completeness == pytest.approx(completeness, abs=1e-9)
    assert 0 <= found.replacement <= 1 and 0 <= found.completeness <= 1 + 1e-6


def smallest_set(score: Any, threshold: float) -> set[int]:
    """The fewest elements, greatest first, whose scores reach `threshold` of all; with the last, its ties."""
    if not score.any():
        return set(range(len(score)))
    ordered = np.sort(score)[::-1]
    reached = ordered.cumsum() / max(ordered.sum(), 1e-30)
    assume(bool((np.abs(reached - threshold) > 1e-9).all()))
    last = ordered[int((reached < threshold).sum())]
    return set((score >= last * (1 - 1e-9)).nonzero()[0].tolist())


@pytest.mark.parametrize("layout", [Strips, Stretches])
@example(seed=2865, node_threshold=0.0625, edge_threshold=0.5)  # no kept edge leads to a target
@given(seed=seeds, node_threshold=st.floats(0.05, 0.99), edge_threshold=st.floats(0.05, 0.99))
def test_pruning_is_the_published_recipe_in_loops(
    layout: type[Strips] | type[Stretches], seed: int, node_threshold: float, edge_threshold: float
) -> None:
    graph = random_graph(seed)
    weights = graph.weight.astype(float)
    nodes = smallest_set(power_series(dense(graph), weights), node_threshold)
    nodes |= set(range(graph.first_token, graph.n_nodes))
    ends = zip(graph.source.tolist(), graph.target.tolist(), strict=True)
    inside = np.array([s in nodes and t in nodes for s, t in ends], dtype=bool)
    fraction = dense(graph, inside)
    output = power_series(fraction, weights) + weights
    score = fraction[graph.target, graph.source] * output[graph.target]
    chosen = smallest_set(score, edge_threshold) if len(score) else set()
    kept = nx.DiGraph([(int(graph.source[e]), int(graph.target[e])) for e in chosen if inside[e] and score[e] > 0])
    kept.add_nodes_from(nodes)
    while dead := [n for n in kept if is_dead(kept, graph, n)]:
        kept.remove_nodes_from(dead)
    found = Pruner(graph, layout).prune(node_threshold, edge_threshold)
    assert set(found.graph.nodes) == set(kept.nodes)
    assert set(found.graph.edges) == set(kept.edges)


def is_dead(kept: nx.DiGraph, graph: RawGraph, node: int) -> bool:
    """A feature or error that leads nowhere, or a feature that nothing leads to."""
    if node >= graph.first_token:
        return False
    return bool(not kept.out_degree(node) or (node < graph.first_error and not kept.in_degree(node)))


def assert_consistent(graph: RawGraph, pruned: Pruned) -> None:
    """Masks and graph say the same, tokens and logits stay, nothing dangles, shares are the attribution's own."""
    assert set(pruned.node_kept.nonzero()[0].tolist()) == set(pruned.graph.nodes)
    kept = pruned.edges
    assert pruned.edge_kept.nonzero()[0].tolist() == kept.tolist()
    triples = zip(graph.source[kept].tolist(), graph.target[kept].tolist(), graph.share[kept].tolist(), strict=True)
    assert sorted(triples) == sorted((s, t, d["share"]) for s, t, d in pruned.graph.edges(data=True))
    assert bool(pruned.node_kept[graph.first_token :].all())
    assert not any(is_dead(pruned.graph, graph, node) for node in pruned.graph)


@given(seed=seeds, low=thresholds, high=thresholds, edge=thresholds)
def test_pruning_leaves_no_dead_end_and_a_higher_node_threshold_keeps_more_nodes_before_edges(
    seed: int, low: float, high: float, edge: float
) -> None:
    graph = random_graph(seed)
    low, high = sorted((low, high))
    for threshold in (low, high):
        assert_consistent(graph, prune(graph, threshold, edge))
    fewer, more = prune(graph, low, 1.0), prune(graph, high, 1.0)
    assert set(fewer.graph.nodes) <= set(more.graph.nodes)


@given(seed=seeds, node=thresholds, low=thresholds, high=thresholds)
def test_a_higher_edge_threshold_keeps_all_that_a_lower_one_kept(
    seed: int, node: float, low: float, high: float
) -> None:
    graph = random_graph(seed)
    low, high = sorted((low, high))
    fewer, more = prune(graph, node, low), prune(graph, node, high)
    assert set(fewer.graph.edges) <= set(more.graph.edges)
    assert set(fewer.graph.nodes) <= set(more.graph.nodes)


@settings(max_examples=50)
@given(seed=seeds)
def test_at_both_thresholds_one_only_what_has_no_way_to_a_logit_goes(seed: int) -> None:
    graph = random_graph(seed)
    pruned = prune(graph, 1.0, 1.0)
    edges = list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    whole = nx.DiGraph(edges)
    whole.add_nodes_from(range(graph.n_nodes))
    logits = range(graph.first_target, graph.n_nodes)
    leading = set(logits).union(*(nx.ancestors(whole, logit) for logit in logits))
    fed = {node for node in leading if node >= graph.first_error or whole.in_degree(node)}
    while True:
        alive = {n for n in fed if n >= graph.first_error or any(s in fed for s in whole.predecessors(n))}
        alive = {n for n in alive if n >= graph.first_target or any(t in alive for t in whole.successors(n))}
        if alive == fed:
            break
        fed = alive
    assert set(pruned.graph.nodes) == fed | set(range(graph.first_token, graph.n_nodes))


@given(seed=seeds, node=thresholds, edge=thresholds)
def test_a_pruner_that_pruned_before_gives_what_a_fresh_one_gives(seed: int, node: float, edge: float) -> None:
    graph = random_graph(seed)
    pruner = Pruner(graph)
    pruner.prune(0.8, 0.98)
    again, fresh = pruner.prune(node, edge), prune(graph, node, edge)
    assert np.array_equal(again.node_kept, fresh.node_kept) and np.array_equal(again.edges, fresh.edges)


@pytest.mark.parametrize(("node", "edge"), [(0.5, 0.98), (0.8, 0.9), (0.98, 0.98), (1.0, 0.6)])
def test_a_graph_whose_cutoff_is_guessed_from_a_sample_is_pruned_as_one_that_is_sorted(
    node: float, edge: float
) -> None:
    graph = large_graph(700)
    dense, sparse = (Pruner(graph, layout).prune(node, edge) for layout in (Strips, Stretches))
    assert np.array_equal(dense.node_kept, sparse.node_kept) and np.array_equal(dense.edges, sparse.edges)
    assert len(dense.edges) > 100


@pytest.mark.parametrize("around", [(1e-9, 1e-8), (1e-3, 1e3), (0.0, 1e-9), (1e3, 1e4)])
def test_given_a_wrong_guess_of_the_cutoff_when_pruned_then_the_same_edges_are_kept(
    around: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    pruner = Pruner(large_graph(300), Strips)
    right = pruner.prune(0.9, 0.98)
    monkeypatch.setattr(strips, "_around_cutoff", lambda *_: around)
    wrong = pruner.prune(0.9, 0.98)
    assert np.array_equal(right.node_kept, wrong.node_kept) and np.array_equal(right.edges, wrong.edges)


def test_given_two_threads_when_pruned_then_the_same_edges_are_kept_as_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pruner = Pruner(large_graph(300), Strips)
    alone = pruner.prune(0.9, 0.98)
    monkeypatch.setattr(strips, "_WORTH_A_THREAD", 0)
    together = pruner.prune(0.9, 0.98)
    assert np.array_equal(alone.node_kept, together.node_kept) and np.array_equal(alone.edges, together.edges)


@given(seed=seeds)
def test_strips_have_a_cell_for_every_pair_of_a_target_and_what_lies_below_it(seed: int) -> None:
    graph = random_graph(seed)
    targets = [*range(graph.first_error), *range(graph.first_target, graph.n_nodes)]
    below = [s for t in targets for s in range(graph.first_target) if graph.layer[s] < graph.layer[t]]
    assert n_cells(graph) == len(below)


@given(st.lists(st.floats(0.0, 1e3, allow_subnormal=False), min_size=1), st.floats(0.01, 0.99))
def test_the_bucketed_cutoff_is_that_of_a_full_sort(values: list[float], threshold: float) -> None:
    score = np.array(values)
    assume(score.sum() > 1e-20)
    kept = smallest_set(score, threshold)
    assert set((score >= smallest_kept([score], threshold)).nonzero()[0].tolist()) == kept
