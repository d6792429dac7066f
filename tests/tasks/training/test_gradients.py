"""The gradients of a step, sparse and by hand, against dense autograd through each objective's loss."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tasks.training import pairs as pairs_module
from tasks.training.levels import at_codes, reconstruct
from tasks.training.objectives import objective_of
from tasks.training.pairs import ByFeature
from tasks.training.plan import OBJECTIVES, Objective, TrainingPlan
from tasks.training.revival import revive
from tasks.training.weights import Weights
from tests.tasks.training import twins

ROWS, WIDTH, FEATURES, K = 24, 6, 32, 5
SHARE = 0.1


def plan(objective: Objective, **options: Any) -> TrainingPlan:
    return TrainingPlan(
        FEATURES, K, ROWS, 1e-3, 0, 1000, objective=objective, bandwidth=0.7, l1_coefficient=0.3, **options
    )


def weights(seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((FEATURES, WIDTH), (FEATURES,), (FEATURES, WIDTH), (WIDTH,))
    w_enc, b_enc, w_dec, b_dec = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return Weights(w_enc, b_enc, w_dec, b_dec)


def more(objective: Objective, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed + 50)
    drawn = torch.randn(2, FEATURES, generator=generator, dtype=torch.float64) * 0.3
    if objective == "jumprelu":
        return {"log_threshold": drawn[0]}
    return {"log_gain": drawn[0], "magnitude_bias": drawn[1]} if objective == "gated" else {}


def rows(seed: int) -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)


def by_hand(how: TrainingPlan, held: Weights, x: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients as the trainer finds them."""
    objective = objective_of(how, held, {}, screened=False)
    codes = objective.encode(x, SHARE)
    errors = reconstruct(x, codes.pairs, codes.z, held, how.level_ends)
    order = ByFeature.of(codes.pairs)
    found = objective.gradients(x, codes, order, at_codes(errors, codes.pairs, held, how.level_ends))
    ends = [0, *how.level_ends]
    z = codes.z[order.order] * (2 / len(x))
    decoder = [order.sums(z, errors.answered[level], ends[level], ends[level + 1]) for level in range(len(ends) - 1)]
    gradients = {
        "W_enc": order.sums(found.scores[order.order], x, 0, FEATURES),
        "b_enc": found.b_enc,
        "W_dec": torch.cat(decoder),
        "b_dec": errors.answered[0].sum(0) * (2 / len(x)),
    }
    if found.W_dec_norm is not None:
        gradients["W_dec"] += found.W_dec_norm[:, None] * held.W_dec / held.W_dec.norm(dim=1, keepdim=True)
    return errors.loss + codes.penalty, gradients | found.more


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_loss_and_every_gradient_of_a_step_are_those_of_dense_autograd(
    objective: Objective, dense: bool, seed: int
) -> None:
    how, x, held = plan(objective, unit_decoder=False), rows(seed), weights(seed)
    held.more = more(objective, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pairs_module.DENSE_ABOVE, "cpu", 0.0 if dense else 2.0)
        patch.setattr(pairs_module, "_DENSE_ENTRIES", 7 * FEATURES)
        loss, gradients = by_hand(how, held, x)
    for tensor in held.named().values():
        tensor.requires_grad_()
    twin = twins.loss(how, held, x, SHARE)
    twin.backward()
    assert abs(loss - float(twin.detach())) < 1e-9 * max(1.0, loss)
    for name, tensor in held.named().items():
        expected = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        assert torch.allclose(gradients[name], expected, atol=1e-9), name


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 6))
def test_revival_is_the_gradient_of_explaining_what_is_left_by_dead_features_alone(seed: int, k: int) -> None:
    x, held, residual = rows(seed), weights(seed), rows(seed + 12)
    dead = torch.tensor([2, 5, 9, 30])
    found = revive(x, residual, held, dead, k, 0.25)
    for tensor in held.named().values():
        tensor.requires_grad_()
    codes = (x @ held.W_enc[dead].T + held.b_enc[dead]).relu()
    kept = codes.topk(min(k, len(dead)), dim=1).indices
    codes = torch.zeros_like(codes).scatter(1, kept, codes.gather(1, kept))
    twin = 0.25 * (codes @ held.W_dec[dead] + residual).square().sum(1).mean()
    twin.backward()
    assert abs(found.loss - float(twin.detach())) < 1e-9
    for name in ("W_enc", "b_enc", "W_dec"):
        gradient = held.named()[name].grad
        assert gradient is not None
        assert torch.allclose(getattr(found, name), gradient[dead], atol=1e-9), name
        assert not gradient[torch.arange(FEATURES)[~torch.isin(torch.arange(FEATURES), dead)]].any()
    whole = torch.zeros(20, WIDTH, dtype=torch.float64)
    found.add_to(whole, "W_dec", 4)
    assert torch.equal(whole[[1, 5]], found.W_dec[1:3]) and int(whole.any(1).sum()) <= 2
