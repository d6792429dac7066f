"""The state of a pass against brute force over all rows at once, whatever the order and the parts they came in."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from store.contexts import TOKENS_AFTER, TOKENS_BEFORE
from tasks.dictionaries.neurons import Neurons
from tasks.indexing.coactivation import FEWEST_TOGETHER, MOST_TOKENS, TokenSample
from tasks.indexing.kept_examples import WINDOW, KeptExamples, Measure
from tasks.indexing.layer_pass import LayerPass
from tasks.indexing.moments import HISTOGRAM_BINS
from tasks.indexing.places import DRAWS, NOWHERE, drawn, packed, unpacked

CPU = torch.device("cpu")


def codes(n_rows: int, n_features: int, share: float = 0.3, seed: int = 0, signed: bool = False) -> Tensor:
    """Activations of which some are zero and some tie."""
    draw = torch.Generator().manual_seed(seed)
    values = (torch.rand(n_rows, n_features, generator=draw) * 20).round() / 4 + 0.25
    if signed:
        values *= torch.rand(n_rows, n_features, generator=draw).sub(0.5).sign()
    return values * (torch.rand(n_rows, n_features, generator=draw) < share)


def places_of(n_rows: int, length: int = 7) -> tuple[Tensor, Tensor]:
    """Rows as documents of `length` tokens."""
    rows = torch.arange(n_rows)
    return rows // length, rows % length


def passed(z: Tensor, order: list[Tensor], n_examples: int = 4) -> LayerPass:
    """The state after these stretches of rows."""
    documents, positions = places_of(len(z))
    state = LayerPass.empty(z.shape[1], n_examples, CPU)
    dictionary = Neurons(0, z.shape[1], CPU)
    for rows in order:
        state.add(dictionary, z[rows], documents[rows], positions[rows])
    return state


def same(one: LayerPass, other: LayerPass) -> None:
    """Everything equal; sums but for the order in which they were added; windows where both know them."""
    theirs = other.tensors()
    for name, tensor in one.tensors().items():
        if name.endswith("windows"):
            known = ~(tensor.isnan() | theirs[name].isnan())
            assert torch.equal(tensor[known], theirs[name][known]), name
        elif name == "totals.powers":
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-12, atol=1e-12)
        else:
            assert torch.equal(tensor, theirs[name]), name


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 6), st.randoms(use_true_random=False), st.booleans())
def test_given_any_order_and_any_parts_when_merged_then_the_state_is_that_of_one_pass(
    n_rows: int, n_parts: int, draw: random.Random, signed: bool
) -> None:
    z = codes(n_rows, 5, signed=signed, seed=draw.randrange(1000))
    whole = passed(z, [torch.arange(n_rows)])
    shuffled = list(range(n_rows))
    draw.shuffle(shuffled)
    stretches = [torch.tensor(shuffled[part::n_parts], dtype=torch.int64) for part in range(n_parts)]
    parts = [passed(z, [rows]) for rows in stretches if len(rows)]
    draw.shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    same(merged, whole)
    same(passed(z, [rows for rows in stretches if len(rows)]), whole)


@pytest.mark.parametrize("signed", [False, True])
def test_the_totals_are_those_of_all_rows(signed: bool) -> None:
    z = codes(400, 6, signed=signed)
    z[:, 5] = 0
    state = passed(z, list(torch.arange(400).split(90)))
    moments = state.totals.moments().numpy()
    for feature in range(6):
        active = z[:, feature][z[:, feature] != 0].double().numpy()
        above = active[active > 0]
        assert int(state.totals.counts[feature]) == len(active)
        octaves = np.floor(np.log2(above)) + 10 if len(above) else above
        by_hand = np.bincount(octaves.clip(0, HISTOGRAM_BINS - 1).astype(int), minlength=HISTOGRAM_BINS)
        assert state.totals.histogram[feature].tolist() == by_hand.tolist()
        if not len(active):
            assert moments[feature].tolist() == [0, 0, 0, 0]
            continue
        off = active - active.mean()
        deviation = active.std()
        expected = [active.mean(), deviation, (off**3).mean() / deviation**3, (off**4).mean() / deviation**4]
        np.testing.assert_allclose(moments[feature], expected, rtol=1e-9, atol=1e-12)


def test_a_constant_activation_has_no_spread() -> None:
    state = passed(torch.full((50, 1), 3.3), [torch.arange(50)])
    [[mean, *others]] = state.totals.moments().tolist()
    assert mean == pytest.approx(3.3)
    assert others == [0, 0, 0]


@pytest.mark.parametrize("measure", list(Measure))
def test_the_kept_examples_are_the_best_of_all_rows(measure: Measure) -> None:
    z = codes(300, 4, signed=True)
    state = passed(z, list(torch.arange(300).split(70)), n_examples=6)
    kept = {"strongest": state.strongest, "sampled": state.sampled, "lowest": state.lowest}[measure.value]
    assert kept is not None
    documents, positions = places_of(300)
    places = packed(documents, positions)
    for feature in range(4):
        active = z[:, feature].nonzero()[:, 0].tolist()
        value = z[:, feature].tolist()
        draws = drawn(places).tolist()
        if measure is Measure.SAMPLED:
            best = sorted(active, key=lambda row: (draws[row], row))
        elif measure is Measure.STRONGEST:
            best = sorted((row for row in active if value[row] > 0), key=lambda row: (-value[row], row))
        else:
            best = sorted((row for row in active if value[row] < 0), key=lambda row: (value[row], row))
        expected = best[: kept.places.shape[1]]
        assert kept.places[feature].tolist() == [int(places[row]) for row in expected]
        assert kept.values[feature].tolist() == [value[row] for row in expected]
        for slot, row in enumerate(expected[: kept.windows.shape[1]]):
            around = kept.windows[feature, slot].tolist()
            assert around[TOKENS_BEFORE] == value[row]
            for offset, seen in enumerate(around, start=-TOKENS_BEFORE):
                inside = 0 <= row + offset < 300 and documents[row + offset] == documents[row]
                assert (
                    (seen == value[row + offset])
                    if math.isfinite(seen)
                    else (not inside or row // 70 != (row + offset) // 70)
                )


def test_the_window_is_as_wide_as_the_store_keeps() -> None:
    assert WINDOW == TOKENS_BEFORE + 1 + TOKENS_AFTER
    kept = KeptExamples.empty(Measure.STRONGEST, 3, 2, 8, CPU)
    assert kept.windows.shape == (3, 2, WINDOW)


def test_given_a_feature_that_is_never_active_then_its_slots_stay_empty() -> None:
    z = codes(60, 3)
    z[:, 1] = 0
    state = passed(z, [torch.arange(60)])
    assert (state.strongest.places[1] == NOWHERE).all()
    assert (state.sampled.places[1] == NOWHERE).all()
    assert state.lowest is None


def test_draws_are_spread_evenly_and_depend_on_the_place_alone() -> None:
    documents, positions = torch.arange(40_000) // 100, torch.arange(40_000) % 100
    draws = drawn(packed(documents, positions)).double() / DRAWS
    assert float(draws.min()) >= 0
    assert float(draws.max()) < 1
    counts = np.histogram(draws.numpy(), bins=20, range=(0, 1))[0]
    assert abs(counts - 2000).max() < 6 * 2000**0.5
    assert [each.tolist() for each in unpacked(packed(documents[:3], positions[:3]))] == [[0, 0, 0], [0, 1, 2]]


@pytest.mark.parametrize("n_rows", [11, 400])
def test_features_that_are_active_together_are_found_in_the_sample(n_rows: int) -> None:
    z = codes(n_rows, 40, share=0.1)
    z[:, 7] = z[:, 3] * (torch.rand(n_rows, generator=torch.Generator().manual_seed(1)) < 0.9)
    sample = TokenSample.empty(40, CPU)
    documents, positions = places_of(n_rows)
    places = packed(documents, positions)
    for rows in torch.arange(n_rows).split(64):
        sample.add(z[rows], places[rows])
    chosen = drawn(places).argsort(stable=True)[: min(n_rows, 80)]
    assert sample.places[sample.places != NOWHERE].tolist() == places[chosen].tolist()
    active = (z[chosen] > 0).double()
    together = active.T @ active
    share = together / (active.sum(0)[:, None] + active.sum(0) - together).clamp_min(1)
    share = torch.where(together >= FEWEST_TOGETHER, share, 0).fill_diagonal_(0).float()
    features, found = sample.nearest(40, 5)
    torch.testing.assert_close(found, share.topk(5, dim=1).values)
    for feature in range(40):
        for other, likeness in zip(features[feature].tolist(), found[feature].tolist(), strict=True):
            assert (other == -1) == (likeness == 0)
            assert other == -1 or float(share[feature, other]) == likeness
    if n_rows == 400:
        assert int(features[3, 0]) == 7


@pytest.mark.parametrize("n_features", [64, 2048, 20_000])
def test_the_state_is_at_most_500_bytes_a_feature_beside_the_examples_and_does_not_grow_with_the_text(
    n_features: int,
) -> None:
    state = LayerPass.empty(n_features, 20, CPU)
    empty = state.state_bytes()
    assert empty[0] / n_features <= 500
    assert len(state.tokens.places) <= MOST_TOKENS
    dictionary = Neurons(0, n_features, CPU)
    for first in range(0, 120, 30):
        rows = torch.arange(first, first + 30)
        state.add(dictionary, codes(30, n_features, share=0.02, seed=first), rows, rows)
    assert state.state_bytes() == empty


def test_what_is_written_down_is_read_back() -> None:
    state = passed(codes(90, 5, signed=True), [torch.arange(90)])
    again = LayerPass.read({name: tensor.clone() for name, tensor in state.tensors().items()}, CPU)
    same(again, state)
    z = codes(90, 5, signed=True, seed=3)
    for each in (state, again):
        each.add(Neurons(0, 5, CPU), z, torch.arange(90) + 50, torch.arange(90))
    same(again, state)
