"""Controls, circuit membership and circuit values, against loops and the seed's forward pass."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from store.project import Project
from tasks.circuits.frozen import freeze
from tasks.circuits.nodes import ActiveFeatures, find_sources
from tasks.circuits.targets import LogitTarget
from tasks.context import Context, Stage
from tasks.interventions.faithfulness_curve import CircuitValues, circuit_values
from tasks.interventions.removal import FeatureValues, feature_values, zero_values
from tasks.interventions.validation import Bench, matched_controls, rows_at
from tasks.model.language_model import LanguageModel
from tests.oracle.interventions import Change, features, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import dictionary_set, plain_set
from tests.oracle.seed_model import SeedModel

TOKENS = (5, 17, 44, 3, 71, 28)
OTHER = (5, 17, 90, 3, 12, 28)
TARGET = LogitTarget(9, 5, 1.0, rival=2)
Models = Callable[[str], LanguageModel]
Twins = Callable[[str], SeedModel]


def random_active(seed: int, n: int) -> ActiveFeatures:
    """`n` distinct features over three layers and four positions."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(3 * 4 * 8, generator=generator)[:n].sort().values
    return ActiveFeatures(places // 32, places // 8 % 4, places % 8, torch.randn(n, generator=generator))


def names(active: ActiveFeatures) -> list[Place]:
    """The features by name."""
    return list(zip(active.layer.tolist(), active.position.tolist(), active.index.tolist(), strict=True))


@given(seed=st.integers(0, 10_000), n=st.integers(0, 60), share=st.floats(0, 1), nearest=st.integers(1, 5))
def test_controls_are_untested_features_of_the_same_layer_and_position_none_twice(
    seed: int, n: int, share: float, nearest: int
) -> None:
    active = random_active(seed, n)
    generator = torch.Generator().manual_seed(seed)
    tested = torch.rand(n, generator=generator) < share
    chosen = matched_controls(active, tested, torch.Generator().manual_seed(seed), nearest).tolist()
    places = [name[:2] for name in names(active)]
    assert len(set(chosen)) == len(chosen) and not any(tested[row] for row in chosen)
    for place in set(places):
        n_tested = sum(bool(tested[row]) for row in range(n) if places[row] == place)
        n_free = sum(not tested[row] for row in range(n) if places[row] == place)
        assert sum(places[row] == place for row in chosen) == min(n_tested, n_free)


def test_a_control_is_one_of_the_nearest_in_activation() -> None:
    activation = torch.tensor([1.0, -1.1, 5.0, 0.9, 9.0, 0.0])
    zeros = torch.zeros(6, dtype=torch.long)
    active = ActiveFeatures(zeros, zeros, torch.arange(6), activation)
    tested = torch.tensor([True, False, False, False, False, False])
    draws = {int(matched_controls(active, tested, torch.Generator().manual_seed(s), 2)[0]) for s in range(40)}
    assert draws == {1, 3}
    again = [matched_controls(active, tested, torch.Generator().manual_seed(7)).tolist() for _ in range(2)]
    assert again[0] == again[1]


@given(seed=st.integers(0, 10_000), n=st.integers(0, 40), split=st.integers(0, 40))
def test_rows_are_found_by_layer_position_and_feature(seed: int, n: int, split: int) -> None:
    active = random_active(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    some = active.take(order[:split])
    places = torch.tensor(names(some), dtype=torch.long).view(-1, 3)
    assert rows_at(active, places).tolist() == [name in set(names(some)) for name in names(active)]


@given(seed=st.integers(0, 10_000), n=st.integers(0, 60))
def test_what_may_never_be_a_control_is_none(seed: int, n: int) -> None:
    active = random_active(seed, n)
    generator = torch.Generator().manual_seed(seed)
    tested, never = torch.rand(n, generator=generator) < 0.3, torch.rand(n, generator=generator) < 0.3
    chosen = matched_controls(active, tested, torch.Generator().manual_seed(seed), never=never)
    assert not any(never[row] or tested[row] for row in chosen.tolist())


def made(model: LanguageModel, kind: str) -> tuple[Bench, ActiveFeatures]:
    """A bench and what is active on its prompt."""
    dictionaries = dictionary_set(kind, plain_set(kind, model))
    active = find_sources(model, freeze(model, list(TOKENS)), dictionaries).features
    return Bench(model, TOKENS, dictionaries, TARGET, 16), active


def removed_in(bench: Bench, swapped: bool) -> FeatureValues:
    """What removed features become: the corrupt prompt's values, or zero."""
    if swapped:
        return feature_values(bench.model, bench.dictionaries, OTHER)
    return zero_values(bench.dictionaries, len(TOKENS), bench.model.device)


def twin_value(seed: SeedModel, kind: str, model: LanguageModel, changes: dict[Place, Change]) -> float:
    """The target in the seed's forward pass."""
    logits = intervened_logits(seed, list(TOKENS), plain_set(kind, model), changes, "delta")
    return float(logits[-1, 9] - logits[-1, 2])


@pytest.mark.parametrize(("family", "kind"), [("llama", "sae"), ("gemma2", "sae"), ("qwen3", "neurons")])
@pytest.mark.parametrize("swapped", [False, True])
def test_circuit_values_are_the_seeds_forward_pass_with_all_but_some_features_removed(
    tiny_model: Models, seed_model: Twins, family: str, kind: str, swapped: bool
) -> None:
    model, seed = tiny_model(family), seed_model(family)
    bench, active = made(model, kind)
    in_circuit = torch.arange(len(active)) % 3 == 0
    circuit = set(names(active.take(in_circuit.nonzero().squeeze(1))))
    removed = removed_in(bench, swapped)
    there = features(seed, list(OTHER), plain_set(kind, model))
    every = {
        (layer, at, index): Change(0.0, float(z[at, index]) if swapped else 0.0)
        for layer, z in there.items()
        for at in range(1, len(TOKENS))
        for index in range(z.shape[1])
    }
    found = circuit_values(bench, active, in_circuit, removed, start=1)
    expected = [
        twin_value(seed, kind, model, changes)
        for changes in (
            {},
            {name: change for name, change in every.items() if name not in circuit},
            {name: change for name, change in every.items() if name in circuit},
            every,
        )
    ]
    assert [found.whole, found.circuit, found.complement, found.nothing] == pytest.approx(expected, abs=2e-5)
    assert found.faithfulness == pytest.approx((expected[1] - expected[3]) / (expected[0] - expected[3]), abs=1e-3)
    assert found.completeness == pytest.approx((expected[2] - expected[3]) / (expected[0] - expected[3]), abs=1e-3)


@pytest.mark.parametrize("swapped", [False, True])
def test_all_features_are_fully_faithful_and_none_are_not_at_all(tiny_model: Models, swapped: bool) -> None:
    model = tiny_model("mistral")
    bench, active = made(model, "neurons")
    removed = removed_in(bench, swapped)
    whole = circuit_values(bench, active, torch.ones(len(active), dtype=torch.bool), removed, start=1)
    assert whole.faithfulness == pytest.approx(1) and whole.completeness == pytest.approx(0, abs=1e-6)
    empty = circuit_values(bench, active, torch.zeros(len(active), dtype=torch.bool), removed, start=1)
    assert empty.faithfulness == pytest.approx(0, abs=1e-6) and empty.completeness == pytest.approx(1)


def test_features_held_at_their_own_values_change_nothing_and_no_fraction_is_made_up(tiny_model: Models) -> None:
    bench, active = made(tiny_model("llama"), "sae")
    own = feature_values(bench.model, bench.dictionaries, TOKENS)
    values = circuit_values(bench, active, torch.zeros(len(active), dtype=torch.bool), own, start=1)
    assert values.nothing == pytest.approx(values.whole, abs=1e-5)
    level = CircuitValues(whole=2.0, circuit=1.0, complement=3.0, nothing=2.0)
    assert level.faithfulness is None and level.completeness is None


def test_an_effect_is_the_baseline_minus_the_edited_target(tiny_model: Models, seed_model: Twins) -> None:
    model, seed = tiny_model("gemma3_text"), seed_model("gemma3_text")
    bench, active = made(model, "sae")
    some = active.take(torch.tensor([2, 30, len(active) - 1]))
    values = torch.tensor([0.0, 1.5, -0.5])
    without_project = Context(cast(Project, None))
    found = bench.effects_of_setting(some, values, Stage(without_project))
    baseline = twin_value(seed, "sae", model, {})
    assert bench.baseline() == pytest.approx(baseline, abs=1e-5)
    for name, value, effect in zip(names(some), values.tolist(), found.tolist(), strict=True):
        edited = twin_value(seed, "sae", model, {name: Change(0.0, value)})
        assert effect == pytest.approx(baseline - edited, abs=2e-5)
