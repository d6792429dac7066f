"""How much of a behaviour a circuit carries, at one size and over all sizes (METHOD §5; MIB's CPR and CMD).

f = (m(C) - m(∅)) / (m(M) - m(∅)), with m the target: the model with the circuit's features alone, with none, and whole.
MIB (arXiv 2504.13151, its `evaluation.py`) measures f at ten sizes, each a part of all components ranked by score, and
integrates over that part by trapezoids, from the smallest size to the whole; the axis is linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tasks.circuits.nodes import ActiveFeatures
from tasks.interventions.removal import FeatureValues, values_keeping
from tasks.interventions.validation import Bench

SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Parts of the active features that a circuit is made of; the whole is the unedited model."""
_NOTHING = 1e-6
"""Below this, removing everything changes nothing, and no fraction is made up."""


@dataclass(frozen=True)
class CircuitValues:
    """The target under joint edits, nats (METHOD §5, faithfulness and completeness)."""

    whole: float
    """Nothing edited: m(M)."""
    circuit: float
    """Everything but the circuit's features removed: m(C)."""
    complement: float
    """The circuit's features removed."""
    nothing: float
    """All features removed: m(∅)."""

    @property
    def faithfulness(self) -> float | None:
        """(m(C) - m(∅)) / (m(M) - m(∅)); None where removing everything changes nothing."""
        return faithfulness(self.circuit, self.whole, self.nothing)

    @property
    def completeness(self) -> float | None:
        """The same for the complement: what is left of the behaviour without the circuit; 0 is ideal."""
        return faithfulness(self.complement, self.whole, self.nothing)


@dataclass(frozen=True)
class Curve:
    """f at each of `SIZES`, and the two areas; all None where removing everything changes nothing."""

    faithfulness: tuple[float | None, ...]
    cpr: float | None
    """Area under f: how much small circuits carry; higher is better."""
    cmd: float | None
    """Area under |1 - f|: how far they are from the model; lower is better."""


def faithfulness(value: float, whole: float, nothing: float) -> float | None:
    """(value - nothing) / (whole - nothing); None where the two ends are the same."""
    return (value - nothing) / (whole - nothing) if abs(whole - nothing) > _NOTHING else None


def curve(values: Sequence[float], whole: float, nothing: float) -> Curve:
    """The curve of the targets that circuits of `SIZES` leave."""
    found = [faithfulness(value, whole, nothing) for value in values]
    known = [f for f in found if f is not None]
    if len(known) < len(SIZES):
        return Curve(tuple(found), None, None)
    return Curve(tuple(found), area(known), area([abs(1 - f) for f in known]))


def area(heights: Sequence[float]) -> float:
    """The trapezoids under `heights` at `SIZES`."""
    points = pairwise(zip(SIZES, heights, strict=True))
    return sum((right - left) * (low + high) / 2 for (left, low), (right, high) in points)


def circuit_values(
    bench: Bench, active: ActiveFeatures, in_circuit: Bool[Tensor, " n"], removed: FeatureValues, start: int
) -> CircuitValues:
    """Measure the circuit and its complement.

    With the circuit alone, every other feature is removed, those too that are not active in the prompt; without the
    circuit, every other feature is live.
    """
    kept = torch.stack([in_circuit, ~in_circuit, torch.zeros_like(in_circuit)])
    others = torch.tensor([False, True, False], device=kept.device)
    circuit, complement, nothing = values_keeping(bench, active, kept, others, removed, start).tolist()
    return CircuitValues(bench.baseline(), circuit, complement, nothing)


def values_by_size(
    bench: Bench,
    active: ActiveFeatures,
    rankings: Sequence[Float[Tensor, " n"]],
    removed: FeatureValues,
    start: int,
) -> Float[Tensor, "ranking size"]:
    """The target with the features of largest |score| alone, for each ranking and each of `SIZES`.

    A size is rounded down to whole features; ties go by (layer, position, index). The last size is the whole model.
    """
    whole = bench.baseline()
    rows: list[Tensor] = []
    for score in rankings:
        order = score.abs().argsort(descending=True, stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        rows.extend(rank < int(size * len(order)) for size in SIZES[:-1])
    kept = torch.stack(rows)
    others = torch.zeros(len(kept), dtype=torch.bool, device=kept.device)
    found = values_keeping(bench, active, kept, others, removed, start).view(len(rankings), -1)
    return torch.cat([found, found.new_full((len(rankings), 1), whole)], dim=1)


def random_scores(n: int, seed: int, device: torch.device) -> Float[Tensor, " n"]:
    """Scores that rank features at random."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)).to(device)
