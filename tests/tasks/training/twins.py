"""Every objective written out densely with autograd: the twin of a training step (METHOD §6)."""

from typing import cast

import torch
from torch import Tensor

from tasks.training.plan import TrainingPlan
from tasks.training.weights import Weights


class Kernel(torch.autograd.Function):
    """H(u) for the straight-through estimator: 1 above 0; its gradient is that of a ramp of some width."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, u: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.width = width  # type: ignore[attr-defined]
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors  # type: ignore[attr-defined]
        width = ctx.width  # type: ignore[attr-defined]
        return gradient * (u.abs() < width / 2) / width, None


def loss(plan: TrainingPlan, weights: Weights, x: Tensor, share: float) -> Tensor:
    """The whole loss of a batch, mean over rows, as the papers write it."""
    scores = x @ weights.W_enc.T + weights.b_enc
    penalty = x.new_zeros(())
    if plan.objective == "topk":
        kth = scores.sort(dim=1, descending=True).values[:, plan.k - 1 : plan.k]
        z = torch.where(scores >= kth, scores, 0.0).relu()
    elif plan.objective in ("batchtopk", "matryoshka"):
        kth = scores.flatten().sort(descending=True).values[plan.k * len(x) - 1]
        z = torch.where(scores >= kth, scores, 0.0).relu()
    elif plan.objective == "l1":
        z = scores.relu()
        penalty = plan.l1_coefficient * plan.penalty_at(share) * (z @ weights.W_dec.norm(dim=1)).mean()
    elif plan.objective == "jumprelu":
        z, penalty = _jumprelu(plan, weights, x, scores, share)
    else:
        z, penalty = _gated(plan, weights, x, scores, share)
    errors = [(z[:, :end] @ weights.W_dec[:end] + weights.b_dec - x).square().sum(1) for end in plan.level_ends]
    return torch.stack(errors).mean() + penalty


def _jumprelu(plan: TrainingPlan, weights: Weights, x: Tensor, scores: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """θ learns through the kernel alone; scores learn where they are active, and not from the penalty."""
    threshold = weights.more["log_threshold"].exp()
    step = cast(Tensor, Kernel.apply(scores.detach() - threshold, plan.bandwidth))  # type: ignore[no-untyped-call]
    z = scores * (scores > threshold) + threshold * (step - step.detach())
    weight = plan.l0_coefficient * x.shape[1] * plan.penalty_at(share)
    return z, weight * (step.sum(1).mean() / plan.k - 1).square()


def _gated(plan: TrainingPlan, weights: Weights, x: Tensor, scores: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """The gate's scores pay L1 and reconstruct through a decoder that is held."""
    magnitude = weights.more["log_gain"].exp() * (x @ weights.W_enc.T) + weights.more["magnitude_bias"]
    gate = scores.relu()
    held = gate @ weights.W_dec.detach() + weights.b_dec.detach() - x
    l1 = plan.l1_coefficient * plan.penalty_at(share) * gate.sum(1).mean()
    return torch.where(scores > 0, magnitude.relu(), 0.0), held.square().sum(1).mean() + l1
