"""The sparse TopK pass against dense autograd, and the penalties against their formulas."""

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.dictionaries.objectives import Weights, reconstruct_l1, reconstruct_topk, revival_loss, sum_by_feature

ROWS, WIDTH, FEATURES = 9, 6, 15


def weights(seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((FEATURES, WIDTH), (FEATURES,), (FEATURES, WIDTH), (WIDTH,))
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    return Weights(*drawn)


def rows(seed: int) -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)


def dense_topk(x: Tensor, w: Weights, k: int) -> Tensor:
    """The twin: a dense code matrix with all but the k largest of each row masked out."""
    pre = x @ w.W_enc.T + w.b_enc
    kth = pre.sort(dim=1, descending=True).values[:, k - 1 : k]
    z = torch.where(pre >= kth, pre, torch.zeros_like(pre)).relu()
    return z @ w.W_dec + w.b_dec


@given(seed=st.integers(0, 10_000), k=st.integers(1, FEATURES))
def test_topk_reconstruction_and_every_gradient_are_those_of_dense_autograd(seed: int, k: int) -> None:
    x, target = rows(seed), rows(seed + 7)
    sparse, dense = weights(seed), weights(seed)
    found = reconstruct_topk(x, sparse, k)
    expected = dense_topk(x, dense, k)
    assert torch.allclose(found.x_hat, expected)
    (found.x_hat - target).square().sum().backward()
    (expected - target).square().sum().backward()
    for name, parameter in sparse.named().items():
        twin = dense.named()[name].grad
        assert parameter.grad is not None and twin is not None
        assert torch.allclose(parameter.grad, twin), name


@given(seed=st.integers(0, 10_000), k=st.integers(1, 5))
def test_sums_by_feature_are_the_dense_product(seed: int, k: int) -> None:
    x = rows(seed)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.stack([torch.randperm(FEATURES, generator=generator)[:k] for _ in range(ROWS)])
    values = torch.randn(ROWS, k, generator=generator, dtype=torch.float64)
    dense = torch.zeros(ROWS, FEATURES, dtype=torch.float64).scatter_(1, chosen, values)
    summed, totals = sum_by_feature(x, values, chosen, FEATURES)
    assert torch.allclose(summed, dense.T @ x)
    assert torch.allclose(totals, dense.sum(0))


def test_the_l1_penalty_is_the_sum_of_codes_with_decoder_norms_folded_in() -> None:
    x, w = rows(3), weights(3)
    found = reconstruct_l1(x, w, 0.7)
    expected = 0.0
    for row in x:
        for i in range(FEATURES):
            expected += (
                0.7
                / ROWS
                * max(0.0, float((w.W_enc[i] @ row + w.b_enc[i]).detach()))
                * float(w.W_dec[i].detach().norm())
            )
    assert abs(float(found.penalty.detach()) - expected) < 1e-9


def test_features_that_fired_are_counted_alike_in_both_forms() -> None:
    x, w = rows(5), weights(5)
    everything = reconstruct_topk(x, w, FEATURES).fired(FEATURES)
    assert torch.equal(everything, reconstruct_l1(x, w, 1.0).fired(FEATURES))
    assert torch.equal(everything, (x @ w.W_enc.T + w.b_enc > 0).sum(0))


def test_revival_moves_dead_features_alone_and_towards_the_residual() -> None:
    x, w = rows(11), weights(11)
    dead = torch.tensor([2, 5, 9])
    residual = rows(12)
    before = revival_loss(x, residual, w, dead, k=2)
    before.backward()
    assert w.W_dec.grad is not None
    alive = torch.ones(FEATURES, dtype=torch.bool)
    alive[dead] = False
    assert not w.W_dec.grad[alive].any() and w.W_dec.grad[dead].any()
    stepped = replace(w, W_dec=(w.W_dec - 1e-3 * w.W_dec.grad).detach())
    assert float(revival_loss(x, residual, stepped, dead, k=2).detach()) < float(before.detach())
