"""The encoder's choice of pairs against a dense product and a sort: the same pairs, with or without a screen."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.training import encoder as encoder_module
from tasks.training.encoder import Encoder

ROWS, WIDTH = 40, 48


def drawn(seed: int, n_features: int, spread: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """x with some massive entries, W of unequal rows, bias."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, WIDTH, generator=generator)
    x[:3, 5] *= 50 * spread
    w = torch.randn(n_features, WIDTH, generator=generator) * torch.rand(n_features, 1, generator=generator).mul(2)
    return x, w, torch.randn(n_features, generator=generator)


def dense(scored_pairs: Tensor, rows: Tensor, n_features: int) -> Tensor:
    mask = torch.zeros(ROWS, n_features, dtype=torch.bool)
    mask[rows.long(), scored_pairs.long()] = True
    return mask


@pytest.mark.parametrize("screened", [False, True])
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), n_features=st.sampled_from([30, 64, 160]), k=st.integers(1, 30))
def test_the_largest_scores_of_each_row_are_found_whatever_the_stretches(
    screened: bool, seed: int, n_features: int, k: int
) -> None:
    x, w, bias = drawn(seed, n_features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_module, "BUFFER_ENTRIES", 7 * n_features)
        found = Encoder(w, screened).largest(x, bias, k)
    scores = x @ w.T + bias
    expected = scores.topk(k, dim=1)
    assert torch.equal(found.pairs.row_starts, torch.arange(0, ROWS * k + 1, k, dtype=torch.int32))
    values = found.scores.view(ROWS, k).sort(dim=1, descending=True).values
    assert torch.allclose(values, expected.values, atol=2e-4, rtol=1e-5)
    chosen = dense(found.pairs.features, found.pairs.rows, n_features)
    clear = (scores - expected.values[:, -1:]).abs() > 1e-3
    assert not (chosen ^ (scores >= expected.values[:, -1:]))[clear].any()


@pytest.mark.parametrize("screened", [False, True])
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), floor=st.floats(-3, 8))
def test_every_score_above_a_floor_is_found(screened: bool, seed: int, floor: float) -> None:
    x, w, bias = drawn(seed, 64)
    found = Encoder(w, screened).above(x, bias, floor)
    scores = x @ w.T + bias
    chosen = dense(found.pairs.features, found.pairs.rows, 64)
    clear = (scores - floor).abs() > 1e-3
    assert not (chosen ^ (scores >= floor))[clear].any()
    assert torch.allclose(found.scores, scores[found.pairs.rows.long(), found.pairs.features.long()], atol=2e-4)


def test_a_score_that_is_further_off_than_thought_possible_is_noticed_and_the_rows_scored_in_float32() -> None:
    x, w, bias = drawn(3, 64)
    plain = Encoder(w, screened=False).largest(x, bias, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_module, "_SIGMAS", 1e-6)
        found = Encoder(w, screened=True).largest(x, bias, 4)
    assert torch.equal(found.pairs.features, plain.pairs.features)
    assert torch.equal(found.scores, plain.scores)


def test_with_bfloat16_scores_the_pairs_are_those_of_the_rounded_product() -> None:
    x, w, bias = drawn(4, 64)
    found = Encoder(w, screened=False, rounded=True).largest(x, bias, 4)
    exact = (x @ w.T + bias).topk(4, dim=1).values
    assert torch.allclose(found.scores.view(ROWS, 4).sort(1, descending=True).values, exact, rtol=0.02, atol=0.5)
    assert torch.equal(found.scores, found.scores.bfloat16().float())
