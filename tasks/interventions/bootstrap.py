"""How sure an agreement is: percentile intervals from resampled nodes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tasks.interventions.agreement import Values, above

RESAMPLES = 1000
LEVEL = 0.95
_BLOCK = 100
"""Resamples computed at once."""
_FLAT = 1e-12
"""A variance below this part of the mean square is rounding: all values are equal."""

Interval = tuple[float, float] | None
"""The ends of the interval; None where the number is not defined in a single resample."""
Matrix = Float[np.ndarray, "resample n"]
Column = Float[np.ndarray, " resample"]


@dataclass(frozen=True)
class Intervals:
    """The central 95 % of each number of an `Agreement` over resamples of its nodes (Efron's percentile interval)."""

    pearson: Interval
    spearman: Interval
    slope: Interval
    sign_agreement: Interval


def intervals(
    predicted: Values, measured: Values, seed: int, resamples: int = RESAMPLES, floor: float = 0.0
) -> Intervals:
    """Resample the nodes with replacement, `resamples` times, by a generator of its own; none for fewer than three.

    `floor` is the noise floor, as `agreement` has it.
    """
    n = len(predicted)
    if n < 3 or not np.isfinite(predicted).all() or not np.isfinite(measured).all():
        return Intervals(None, None, None, None)
    generator = np.random.default_rng(seed)
    blocks = []
    for first in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - first)
        counts = generator.multinomial(n, np.full(n, 1 / n), size=size).astype(float)
        blocks.append(_numbers(counts, predicted, measured, above(predicted, measured, floor)))
    return Intervals(*(_percentiles(column) for column in np.concatenate(blocks, axis=1)))


def _numbers(
    counts: Matrix, predicted: Values, measured: Values, signed: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "number resample"]:
    """Pearson, Spearman, slope and sign agreement (of those that are `signed`); NaN where one is not defined."""
    everywhere = np.ones_like(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (counts @ (predicted * measured)) / (counts @ predicted**2)
        equal_signs = (counts @ ((np.sign(predicted) == np.sign(measured)) & signed)) / (counts @ signed)
    return np.stack(
        [
            _weighted_correlation(counts, everywhere * predicted, everywhere * measured),
            _weighted_correlation(counts, weighted_ranks(counts, predicted), weighted_ranks(counts, measured)),
            slope,
            equal_signs,
        ]
    )


def weighted_ranks(counts: Matrix, values: Values) -> Matrix:
    """The mean rank (from 0) of each value in a sample that holds it `counts` times, ties shared."""
    _, group = np.unique(values, return_inverse=True)
    size = np.zeros((len(counts), int(group.max()) + 1))
    np.add.at(size.T, group, counts.T)
    below = np.cumsum(size, axis=1) - size
    return np.asarray((below + (size - 1) / 2)[:, group])


def _weighted_correlation(counts: Matrix, left: Matrix, right: Matrix) -> Column:
    n = counts.sum(axis=1, keepdims=True)
    left, right = (each - (counts * each).sum(axis=1, keepdims=True) / n for each in (left, right))
    variances = [(counts * each**2).sum(axis=1) for each in (left, right)]
    flat = np.zeros(len(counts), dtype=bool)
    for variance, each in zip(variances, (left, right), strict=True):
        flat |= variance <= _FLAT * n[:, 0] * np.square(each).max(axis=1)
    product = (counts * left * right).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, np.nan, product / np.sqrt(variances[0] * variances[1]))


def _percentiles(values: Column) -> Interval:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
