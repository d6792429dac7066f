"""Influence, scores and pruning on random layered graphs, against dense matrices and loops."""

import networkx as nx
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.circuits.attribution import Attribution
from tasks.circuits.influence import edges_from_the_top, influence, normalised, scores
from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.prune import Pruned, prune
from tasks.circuits.targets import LogitTarget

seeds = st.integers(0, 100_000)
thresholds = st.floats(0.0, 1.0)


def random_graph(seed: int, n_layers: int = 3, n_positions: int = 3, density: float = 0.5) -> Attribution:
    """A random attribution: edges run upwards in layers and forwards in positions, as in a model."""
    generator = torch.Generator().manual_seed(seed)
    n_features = int(torch.randint(0, 13, (1,), generator=generator))
    n_logits = int(torch.randint(1, 4, (1,), generator=generator))
    layer = torch.randint(0, n_layers, (n_features,), generator=generator).sort().values
    features = ActiveFeatures(
        layer,
        torch.randint(0, n_positions, (n_features,), generator=generator),
        torch.arange(n_features),
        torch.rand(n_features, generator=generator),
    )
    logits = tuple(LogitTarget(token, n_positions - 1, (token + 1) / 7) for token in range(n_logits))
    n_nodes = n_features + (n_layers + 1) * n_positions + n_logits
    rows = torch.zeros(n_features + n_logits)
    empty = torch.empty(0, dtype=torch.long)
    graph = Attribution(
        features, torch.arange(n_features), n_features, n_layers, tuple(range(n_positions)), logits, empty, empty,
        torch.empty(0), rows, rows, rows, rows, rows, rows,
    )  # fmt: skip
    is_target = torch.ones(n_nodes, dtype=torch.bool)
    is_target[graph.first_error : graph.first_logit] = False
    above = graph.node_layer[:, None] > graph.node_layer[None]
    after = graph.node_position[:, None] >= graph.node_position[None]
    possible = is_target[:, None] & above & after & (torch.rand(n_nodes, n_nodes, generator=generator) < density)
    target, source = possible.nonzero(as_tuple=True)
    order = torch.randperm(len(source), generator=generator)
    share = torch.randn(len(source), generator=generator)
    return Attribution(
        features, torch.arange(n_features), n_features, n_layers, tuple(range(n_positions)), logits, source[order],
        target[order], share, rows, rows, rows, rows, rows, rows,
    )  # fmt: skip


def dense(graph: Attribution, kept: Tensor | None = None) -> Tensor:
    """|A| with rows normalised, [target, source], float64."""
    matrix = torch.zeros(graph.n_nodes, graph.n_nodes).double()
    chosen = torch.ones(len(graph.source), dtype=torch.bool) if kept is None else kept
    matrix[graph.target[chosen], graph.source[chosen]] = graph.share[chosen].abs().double()
    return matrix / matrix.sum(1, keepdim=True).clamp(min=1e-10)


def power_series(fraction: Tensor, weights: Tensor) -> Tensor:
    """wÂ + wÂ² + … until nothing is left."""
    total, term = torch.zeros_like(weights), weights
    for _ in range(len(weights)):
        term = term @ fraction
        total = total + term
    return total


@given(seed=seeds)
def test_influence_is_the_power_series(seed: int) -> None:
    graph = random_graph(seed)
    edges, _ = edges_from_the_top(graph)
    found = influence(edges, normalised(edges, edges.size, graph.n_nodes), graph.logit_weights)
    expected = power_series(dense(graph), graph.logit_weights.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@given(seed=seeds)
def test_scores_are_their_formulas_on_the_dense_matrix(seed: int) -> None:
    graph = random_graph(seed, density=0.8)
    fraction, weights = dense(graph), graph.logit_weights.double()
    total = power_series(fraction, weights)
    errors = slice(graph.first_error, graph.first_token)
    of_tokens, of_errors = total[graph.first_token : graph.first_logit].sum(), total[errors].sum()
    output = total + weights
    completeness = (output * (1 - fraction[:, errors].sum(1))).sum() / output.sum()
    found = scores(graph)
    assert found.replacement == pytest.approx(float(of_tokens / (of_tokens + of_errors).clamp(min=1e-10)), abs=1e-5)
    assert found.completeness == pytest.approx(float(completeness), abs=1e-5)
    assert 0 <= found.replacement <= 1 and 0 <= found.completeness <= 1 + 1e-6


def smallest_set(score: Tensor, threshold: float) -> set[int]:
    """The fewest elements, greatest first, whose scores reach `threshold` of all; with the last, its ties."""
    ordered = score.sort(descending=True).values
    reached = ordered.cumsum(0) / ordered.sum().clamp(min=1e-30)
    assume(bool(((reached - threshold).abs() > 1e-5).all()))
    last = ordered[int((reached < threshold).sum())]
    return set((score >= last * (1 - 1e-6)).nonzero().squeeze(1).tolist())


@given(seed=seeds, node_threshold=st.floats(0.05, 0.99), edge_threshold=st.floats(0.05, 0.99))
def test_pruning_is_the_published_recipe_in_loops(seed: int, node_threshold: float, edge_threshold: float) -> None:
    graph = random_graph(seed)
    weights = graph.logit_weights.double()
    nodes = smallest_set(power_series(dense(graph), weights), node_threshold)
    nodes |= set(range(graph.first_token, graph.n_nodes))
    inside = torch.tensor(
        [int(s) in nodes and int(t) in nodes for s, t in zip(graph.source, graph.target, strict=True)], dtype=torch.bool
    )
    fraction = dense(graph, inside)
    output = power_series(fraction, weights) + weights
    score = fraction[graph.target, graph.source] * output[graph.target]
    chosen = smallest_set(score, edge_threshold) if len(score) else set()
    kept = nx.DiGraph([(int(graph.source[e]), int(graph.target[e])) for e in chosen if inside[e] and score[e] > 0])
    kept.add_nodes_from(nodes)
    while dead := [n for n in kept if is_dead(kept, graph, n)]:
        kept.remove_nodes_from(dead)
    found = prune(graph, node_threshold, edge_threshold)
    assert set(found.graph.nodes) == set(kept.nodes)
    assert set(found.graph.edges) == set(kept.edges)


def is_dead(kept: nx.DiGraph, graph: Attribution, node: int) -> bool:
    """A feature or error that leads nowhere, or a feature that nothing leads to."""
    if node >= graph.first_token:
        return False
    return bool(not kept.out_degree(node) or (node < graph.first_error and not kept.in_degree(node)))


def assert_consistent(graph: Attribution, pruned: Pruned) -> None:
    """Masks and graph say the same, tokens and logits stay, nothing dangles, shares are the attribution's own."""
    assert set(pruned.node_kept.nonzero().squeeze(1).tolist()) == set(pruned.graph.nodes)
    kept = pruned.edge_kept.nonzero().squeeze(1)
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
    logits = range(graph.first_logit, graph.n_nodes)
    leading = set(logits).union(*(nx.ancestors(whole, logit) for logit in logits))
    fed = {node for node in leading if node >= graph.first_error or whole.in_degree(node)}
    while True:
        alive = {n for n in fed if n >= graph.first_error or any(s in fed for s in whole.predecessors(n))}
        alive = {n for n in alive if n >= graph.first_logit or any(t in alive for t in whole.successors(n))}
        if alive == fed:
            break
        fed = alive
    assert set(pruned.graph.nodes) == fed | set(range(graph.first_token, graph.n_nodes))
