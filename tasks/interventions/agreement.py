"""How far predictions and measurements agree, in one line of numbers and node by node (METHOD §5)."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float

Values = Float[np.ndarray, " n"]
SMALLEST_EFFECT = 1e-4
"""Nats below which an effect on this hardware is rounding."""
FACTOR = 2.0
"""A prediction within this factor of the measurement is confirmed."""


class Verdict(StrEnum):
    """What a measurement says of a prediction."""

    CONFIRMED = "confirmed"
    """Right sign, size within a factor of two."""
    WEAK = "weak"
    """Below what random controls do, or of the right sign and the wrong size."""
    CONTRADICTED = "contradicted"
    """The wrong sign, above what random controls do."""
    UNTESTED = "untested"
    """Nothing was measured, or the run failed."""


@dataclass(frozen=True)
class Agreement:
    """A predictor against measurements; None where a number is not defined (fewer than three, all equal, unknown)."""

    n: int
    pearson: float | None
    spearman: float | None
    slope: float | None
    """Of the least-squares line measured = slope · predicted through zero."""
    sign_agreement: float | None
    """Share of equal signs among those of which prediction or measurement reaches the noise floor: the sign of
    rounding says nothing."""


def agreement(predicted: Values, measured: Values, floor: float = 0.0) -> Agreement:
    """Compare a predictor with what was measured; `floor` is the noise floor of both."""
    n = len(predicted)
    if np.isnan(predicted).any():
        return Agreement(n, None, None, None, None)
    signed = above(predicted, measured, floor)
    square = float(predicted @ predicted) if n else 0.0
    return Agreement(
        n=n,
        pearson=_pearson(predicted, measured),
        spearman=_pearson(ranks(predicted), ranks(measured)),
        slope=float(predicted @ measured) / square if square else None,
        sign_agreement=float(np.mean((np.sign(predicted) == np.sign(measured))[signed])) if signed.any() else None,
    )


def above(predicted: Values, measured: Values, floor: float) -> Bool[np.ndarray, " n"]:
    """A mask: where prediction or measurement reaches the noise floor."""
    return np.asarray(np.maximum(np.abs(predicted), np.abs(measured)) >= floor)


def _pearson(left: Values, right: Values) -> float | None:
    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(np.corrcoef(left, right)[0, 1])


def ranks(values: Values) -> Values:
    """Ranks from 0, ties sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2)[place].astype(float)


def noise_floor(controls: Values) -> float:
    """What a random matched feature does to the target: the median |measured effect|, nats."""
    return max(float(np.median(np.abs(controls))), SMALLEST_EFFECT) if len(controls) else SMALLEST_EFFECT


def within_factor(predicted: Values, measured: Values) -> float | None:
    """Share of predictions with the right sign and within `FACTOR` of the measurement; None of none."""
    if not len(predicted):
        return None
    small, large = np.minimum(np.abs(predicted), np.abs(measured)), np.maximum(np.abs(predicted), np.abs(measured))
    return float(np.mean((np.sign(predicted) == np.sign(measured)) & (large <= FACTOR * small)))


def verdict(predicted: float, measured: float, floor: float) -> Verdict:
    """Judge one node; a number that is not finite is a measurement that failed, or was never made."""
    if not (math.isfinite(predicted) and math.isfinite(measured)):
        return Verdict.UNTESTED
    if max(abs(predicted), abs(measured)) <= floor:
        return Verdict.WEAK
    if predicted * measured < 0:
        return Verdict.CONTRADICTED
    small, large = sorted((abs(predicted), abs(measured)))
    return Verdict.CONFIRMED if large <= FACTOR * small else Verdict.WEAK
