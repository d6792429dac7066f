"""Budgets and sparse rows: what is left out of a graph is in the rows' totals, and nothing else changes."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from store.errors import BadInput
from tasks.circuits.attribution import Attribution, attribute
from tasks.circuits.frozen import freeze
from tasks.circuits.known_rows import largest
from tasks.circuits.linearise import Rule
from tasks.circuits.measures import measure_nodes
from tasks.circuits.nodes import find_sources
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import LogitTarget, feature_target, named_logit, salient_logits
from tasks.graphs.influence import scores
from tasks.graphs.prune import prune
from tasks.model.language_model import LanguageModel
from tests.oracle.effects import LiveModel, Target
from tests.oracle.plain_dictionary import dictionary_set, plain_set
from tests.oracle.seed_model import SeedModel
from tests.tiny import tiny_language_model

TOKENS = [5, 17, 44, 3, 71, 28, 60]
Models = Callable[[str], LanguageModel]


@cache
def sweep_of(family: str = "qwen3", kind: str = "sae") -> Sweep:
    """One prompt, ready to be pulled back."""
    model = tiny_language_model(family)
    run, dictionaries = freeze(model, TOKENS), dictionary_set(kind, plain_set(kind, model))
    return Sweep(model, run, dictionaries, find_sources(model, run, dictionaries), Rule.RAY)


def targets(sweep: Sweep) -> list[LogitTarget]:
    """A few of the most probable next tokens."""
    last = sweep.run.n_positions - 1
    return salient_logits(sweep.run.logits_at([last])[0].softmax(-1), last, 4, 0.99)


def graph_of(sweep: Sweep, max_nodes: int = 10_000, refresh: int = 8, block: int = 5) -> Attribution:
    return attribute(sweep, targets(sweep), max_nodes=max_nodes, refresh=refresh, block=block)


def dense(graph: Attribution) -> Tensor:
    """[target, source] among the attribution's own nodes."""
    matrix = torch.zeros(graph.n_nodes, graph.n_nodes).double()
    matrix[graph.target, graph.source] = graph.share.double()
    return matrix


def whole_matrix(sweep: Sweep) -> Tensor:
    """Rows of every active feature, then of the logits, straight from the sweep; columns are sources."""
    rows = [sweep.pull_back(sweep.feature_rows(sweep.sources.features)),
            sweep.pull_back(sweep.target_rows(targets(sweep)))]  # fmt: skip
    return torch.cat([each.shares for each in rows]).double()


def chosen_by_hand(sweep: Sweep, budget: int, refresh: int) -> list[int]:
    """METHOD §4: logits first, then by influence through known rows only, `refresh` at a time."""
    matrix = whole_matrix(sweep).abs()
    weights = torch.tensor([target.probability for target in targets(sweep)]).double()
    n = len(sweep.sources.features)
    fraction = matrix / matrix.sum(1, keepdim=True)
    known: list[int] = []
    while len(known) < budget:
        influence = weights @ fraction[n:, :n]
        known_rows = torch.zeros(n, n).double()
        known_rows[known] = fraction[known, :n]
        total, term = influence.clone(), influence
        for _ in range(sweep.sources.n_layers):
            term = term @ known_rows
            total += term
        total[known] = -1
        known += total.sort(descending=True, stable=True).indices[: min(refresh, budget - len(known))].tolist()
    return sorted(known)


@pytest.mark.parametrize(("budget", "refresh"), [(1, 8), (10, 3), (25, 8), (25, 25)])
def test_a_budget_takes_the_most_influential_features_in_refreshes(budget: int, refresh: int) -> None:
    sweep = sweep_of()
    graph = graph_of(sweep, budget, refresh)
    assert graph.rows_of_active.tolist() == chosen_by_hand(sweep, budget, refresh)
    assert len(graph.features) == budget and graph.n_active == len(sweep.sources.features)


def test_the_whole_graph_is_the_matrix_of_the_sweep() -> None:
    sweep = sweep_of()
    graph, n = graph_of(sweep), len(sweep.sources.features)
    found = dense(graph)[[*range(n), *range(graph.first_target, graph.n_nodes)], : graph.first_target]
    torch.testing.assert_close(found, whole_matrix(sweep), rtol=1e-5, atol=1e-6)
    assert bool((graph.unattributed.abs() <= 1e-5 * graph.size).all())


def test_within_a_budget_each_row_still_adds_up() -> None:
    sweep = sweep_of()
    whole, part = graph_of(sweep), graph_of(sweep, 20)
    rows = part.rows_of_active.tolist()
    known = [*rows, *range(whole.first_error, whole.n_nodes)]
    torch.testing.assert_close(dense(part), dense(whole)[known][:, known], rtol=1e-5, atol=1e-6)
    targets_of = [*range(len(rows)), *range(part.first_target, part.n_nodes)]
    total = dense(part)[targets_of].sum(1) + part.bias + part.unattributed
    torch.testing.assert_close(total.float(), part.value, rtol=1e-4, atol=1e-5)
    chosen = [*rows, *range(len(whole.features), len(whole.value))]
    torch.testing.assert_close(part.size, whole.size[chosen], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(part.value, whole.value[chosen])


def test_rows_that_do_not_fit_into_memory_keep_their_largest_edges() -> None:
    sweep = sweep_of("llama", "neurons")
    memory = 60_000
    thin = attribute(sweep, targets(sweep), max_nodes=40, refresh=8, block=5, memory=memory)
    rows = [*range(len(thin.features)), *range(thin.first_target, thin.n_nodes)]
    most = memory // 2 // (8 * len(rows))
    n = thin.n_active
    whole = whole_matrix(sweep)[[*thin.rows_of_active.tolist(), *range(n, n + len(thin.targets))]]
    assert most < whole.shape[1], "not all edges fit"
    kept = largest(whole.abs().float(), most)
    assert kept.sum(1).tolist() == (whole != 0).sum(1).clamp(max=most).tolist()
    smallest_kept = torch.where(kept, whole.abs(), torch.inf).min(1).values
    assert bool((torch.where(kept, 0.0, whole.abs()).max(1).values <= smallest_kept).all())
    columns = [*thin.rows_of_active.tolist(), *range(n, whole.shape[1])]
    found = dense(thin)[rows][:, : thin.first_target]
    torch.testing.assert_close(found, torch.where(kept, whole, 0.0)[:, columns], rtol=1e-5, atol=1e-6)
    total = dense(thin)[rows].sum(1) + thin.bias + thin.unattributed
    torch.testing.assert_close(total.float(), thin.value, rtol=1e-4, atol=1e-5)
    size = dense(thin)[rows].abs().sum(1) + thin.bias.abs() + thin.unattributed_size
    torch.testing.assert_close(size.float(), thin.size, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 400))
def test_the_largest_of_a_row_are_never_more_than_asked_for_and_none_is_larger(seed: int, most: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.rand(3, 300, generator=generator) * (torch.rand(3, 300, generator=generator) < 0.7)
    kept = largest(sizes, most)
    assert bool((kept.sum(1) <= most).all()) and not bool((kept & (sizes == 0)).any())
    left = torch.where(kept, 0.0, sizes).max(1).values
    assert bool((left <= torch.where(kept, sizes, torch.inf).min(1).values).all())
    assert bool((kept.sum(1) == (sizes > 0).sum(1).clamp(max=most)).all()), "every column was looked at"


def test_a_graph_of_an_earlier_position_holds_only_what_can_lead_there() -> None:
    sweep = sweep_of()
    early = salient_logits(sweep.run.logits_at([3])[0].softmax(-1), 3, 2, 0.99)
    graph = attribute(sweep, early, max_nodes=10_000, refresh=8, block=5)
    active = sweep.sources.features
    assert graph.rows_of_active.tolist() == (active.position <= 3).nonzero().flatten().tolist()
    shares = sweep.pull_back(sweep.target_rows(early)).shares
    assert not shares[:, : len(active)][:, active.position > 3].any()
    assert float(graph.closing_error.max()) <= 1e-5


def test_a_graph_of_a_feature_is_that_features_row_and_what_lies_below_it() -> None:
    sweep = sweep_of()
    active = sweep.sources.features
    row = int(((active.layer == active.layer.max()) & (active.position == 4)).nonzero()[0])
    layer, index = int(active.layer[row]), int(active.index[row])
    target = feature_target(active, layer, index, 4)
    assert target.activation == float(active.activation[row])
    graph = attribute(sweep, [target], max_nodes=10_000, refresh=8, block=5)
    below = (active.layer < layer) & (active.position <= 4)
    assert graph.rows_of_active.tolist() == below.nonzero().flatten().tolist()
    everything = whole_matrix(sweep)[row]
    columns = [*graph.rows_of_active.tolist(), *range(len(active), len(everything))]
    torch.testing.assert_close(dense(graph)[-1, : graph.first_target], everything[columns], rtol=1e-5, atol=1e-6)
    with pytest.raises(BadInput, match="is not active at position 0"):
        feature_target(active, layer, index, 0)


def test_neither_the_block_nor_the_order_of_work_changes_the_graph() -> None:
    sweep = sweep_of()
    first, second = graph_of(sweep, 25, 8, block=3), graph_of(sweep, 25, 8, block=64)
    torch.testing.assert_close(dense(first), dense(second), rtol=1e-5, atol=1e-6)
    assert torch.equal(first.rows_of_active, second.rows_of_active)
    again = graph_of(sweep, 25, 8, block=3)
    assert torch.equal(first.share, again.share) and torch.equal(first.source, again.source)


def test_share_and_predicted_effect_of_every_node_are_the_twins(tiny_model: Models) -> None:
    sweep, target = sweep_of(), LogitTarget(9, 6, 1.0, rival=2)
    measures = measure_nodes(sweep, target)
    rows = sweep.pull_back(sweep.target_rows([target]), through_dictionaries=True)
    features = sweep.sources.features
    places = zip(features.layer.tolist(), features.position.tolist(), features.index.tolist(), strict=True)
    live = LiveModel(SeedModel(sweep.model.hf), TOKENS, plain_set("sae", sweep.model), list(places))
    effects = live.effects(Target(9, rival=2))[0]
    torch.testing.assert_close(measures.predicted_effect.double(), effects, rtol=1e-4, atol=1e-5)
    graph = graph_of(sweep, 20)
    of_nodes = measures.node_share(graph)
    chosen = graph.rows_of_active
    torch.testing.assert_close(of_nodes[: len(chosen)], rows.shares[0, : len(features)][chosen])
    torch.testing.assert_close(of_nodes[graph.first_error : graph.first_target], rows.shares[0, len(features) :])
    assert of_nodes[graph.first_target :].tolist() == [0.0] * len(graph.targets)


def test_a_named_target_has_all_the_weight_and_salient_ones_their_probability(tiny_model: Models) -> None:
    sweep = sweep_of()
    probabilities = sweep.run.logits_at([6])[0].softmax(-1)
    last = probabilities.sort(descending=True)
    for count, mass in ((3, 0.999), (10, 0.3), (1, 0.999)):
        found = salient_logits(probabilities, 6, count, mass)
        needed = int((last.values.cumsum(0) < mass).sum()) + 1
        assert [target.token for target in found] == last.indices[: min(count, needed)].tolist()
    named = named_logit(sweep.model, probabilities, 6, "w7", "w11")
    assert (named.token, named.rival, named.position) == (7, 11, 6)
    single = attribute(sweep, [named], max_nodes=5, refresh=5, block=5)
    assert single.raw().weight.tolist() == [0.0] * (single.n_nodes - 1) + [1.0]
    many = graph_of(sweep, 5)
    assert many.raw().weight[many.first_target :].tolist() == pytest.approx([t.probability for t in many.targets])


def test_a_graph_of_no_features_is_tokens_errors_and_logits(tiny_model: Models) -> None:
    model = tiny_model("llama")
    run, dictionaries = freeze(model, TOKENS), dictionary_set("sae", plain_set("sae", model)).only([])
    sweep = Sweep(model, run, dictionaries, find_sources(model, run, dictionaries), Rule.RAY)
    graph = graph_of(sweep)
    assert len(graph.features) == 0 and set(graph.source.tolist()) <= set(range(graph.first_token, graph.first_target))
    assert scores(graph.raw()).replacement == pytest.approx(1)
    pruned = prune(graph.raw(), 0.8, 0.98)
    assert bool(pruned.node_kept[graph.first_token :].all())
