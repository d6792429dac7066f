"""Scores of a part of a graph, against dense matrices with a node added for what is left out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.graphs.influence import scores
from tasks.graphs.prune import prune
from tasks.graphs.raw import RawGraph
from tasks.graphs.subgraph import part_scores
from tests.tasks.graphs.test_influence_and_prune import dense, power_series, random_graph

seeds = st.integers(0, 100_000)


def chosen_of(graph: RawGraph, seed: int) -> Any:
    """A random choice of the graph's features."""
    return np.random.default_rng(seed).random(graph.n_features) < 0.5


def score_of_matrix(matrix: Any, weights: Any, is_error: Any, is_token: Any) -> tuple[float, float]:
    """(replacement, completeness) of |A| [target, source], as METHOD §4 writes them."""
    fraction = matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-10)
    influence = power_series(fraction, weights)
    of_tokens, of_errors = influence[is_token].sum(), influence[is_error].sum()
    output = influence + weights
    completeness = (output * (1 - fraction[:, is_error].sum(1))).sum() / max(output.sum(), 1e-10)
    return of_tokens / max(of_tokens + of_errors, 1e-10), completeness


def raw_matrix(graph: RawGraph) -> Any:
    """|A| [target, source], float64."""
    matrix = np.zeros((graph.n_nodes, graph.n_nodes))
    matrix[graph.target, graph.source] = np.abs(graph.share)
    return matrix


@given(seed=seeds)
def test_given_a_choice_when_scored_then_the_others_output_was_added_to_their_error_nodes(seed: int) -> None:
    graph = random_graph(seed, density=0.8)
    chosen = chosen_of(graph, seed)
    matrix = raw_matrix(graph)
    for feature in (~chosen).nonzero()[0]:
        error = graph.first_error + int(graph.layer[feature]) * graph.n_positions + int(graph.position[feature])
        matrix[:, error] += matrix[:, feature]
        matrix[:, feature] = matrix[feature] = 0
    errors = np.zeros(graph.n_nodes, bool)
    errors[graph.first_error : graph.first_token] = True
    tokens = np.zeros(graph.n_nodes, bool)
    tokens[graph.first_token : graph.first_target] = True
    expected = score_of_matrix(matrix, graph.weight.astype(float), errors, tokens)
    found = part_scores(graph, chosen, np.arange(len(graph.source))).scores
    assert (found.replacement, found.completeness) == pytest.approx(expected, abs=1e-9)


@given(seed=seeds)
def test_given_all_features_when_scored_then_the_scores_are_the_graphs_own(seed: int) -> None:
    graph = random_graph(seed, density=0.8)
    found = part_scores(graph, np.ones(graph.n_features, bool), np.arange(len(graph.source)))
    assert found.scores == found.renormalised == scores(graph)
    assert found.n_edges == len(graph.source)


@given(seed=seeds, threshold=st.floats(0.3, 0.95))
def test_given_a_choice_when_scored_as_the_page_does_then_only_the_named_nodes_and_kept_links_are_there(
    seed: int, threshold: float
) -> None:
    graph = random_graph(seed, density=0.8)
    pruned, chosen = prune(graph, threshold, 0.98), chosen_of(graph, seed)
    links = [(s, t) for s, t in pruned.graph.edges]
    pinned = {f for f in range(graph.n_features) if chosen[f]}
    errors = {s for s, t in links if graph.first_error <= s < graph.first_token and t in pinned}
    if chosen.all():
        errors = set(range(graph.first_error, graph.first_token))
    nodes = pinned | errors | set(range(graph.first_token, graph.n_nodes))
    matrix = np.zeros((graph.n_nodes, graph.n_nodes))
    sizes = raw_matrix(graph)
    for source, target in links:
        if source in nodes and target in nodes:
            matrix[target, source] = sizes[target, source]
    is_error, is_token = np.zeros(graph.n_nodes, bool), np.zeros(graph.n_nodes, bool)
    is_error[graph.first_error : graph.first_token] = is_token[graph.first_token : graph.first_target] = True
    expected = score_of_matrix(matrix, graph.weight.astype(float), is_error, is_token)
    found = part_scores(graph, chosen, pruned.edges).renormalised
    assert (found.replacement, found.completeness) == pytest.approx(expected, abs=1e-9)


@given(seed=seeds)
def test_given_more_features_when_scored_then_replacement_never_falls(seed: int) -> None:
    graph = random_graph(seed, density=0.8)
    chosen = chosen_of(graph, seed)
    more = chosen | chosen_of(graph, seed + 1)
    every = np.arange(len(graph.source))
    fewer_score, more_score = (part_scores(graph, part, every).scores.replacement for part in (chosen, more))
    assert more_score >= fewer_score - 1e-9


def test_dense_twin_normalises_as_the_matrix_here() -> None:
    graph = random_graph(5)
    matrix = raw_matrix(graph)
    assert np.allclose(dense(graph), matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-10))
