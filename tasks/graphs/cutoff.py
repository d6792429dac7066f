"""The score from which elements are kept, so that they carry a given part of the total, without sorting everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
TIE = 1e-12
"""Scores that differ by less than this part of themselves are equal: the order of a sum shows there."""
_BUCKET_BITS = 44
"""How many low bits of a float64 one bucket spans: 256 buckets a power of two."""


def smallest_kept(scores: Sequence[Numbers], threshold: float, total: float | None = None) -> float:
    """The score (≥ 0) of the last element, from the greatest down, that is needed to reach `threshold` of the total.

    The elements (float64) may lie in several arrays; `total` is their sum if it is not given, and a larger one says
    that small elements were left out. They are counted into buckets by the leading bits of their score, and only the
    bucket in which the threshold is reached is sorted.
    """
    scores = [score for score in scores if len(score)]
    if not scores or threshold >= 1.0:
        return 0.0
    lowest = int(np.float64(min(score.min() for score in scores)).view(np.int64)) >> _BUCKET_BITS
    highest = int(np.float64(max(score.max() for score in scores)).view(np.int64)) >> _BUCKET_BITS
    counted = [np.bincount(_bucket(score, lowest), score, highest - lowest + 1) for score in scores]
    mass = np.sum(counted, axis=0)[::-1].cumsum()
    wanted = threshold * (mass[-1] if total is None else total)
    index = min(int(np.searchsorted(mass, wanted)), len(mass) - 1)
    inside = np.concatenate([score[_bucket(score, lowest) == len(mass) - 1 - index] for score in scores])
    if not len(inside):
        return float(min(score.min() for score in scores))
    inside = np.sort(inside)[::-1]
    before = float(mass[index - 1]) if index else 0.0
    last = int(np.searchsorted(before + inside.cumsum(), wanted))
    return float(inside[min(last, len(inside) - 1)]) * (1 - TIE)


def _bucket(score: Numbers, lowest: int) -> NDArray[np.int64]:
    """The bucket of each score, counted from `lowest`."""
    bits: NDArray[np.int64] = score.view(np.int64) >> _BUCKET_BITS
    bits -= lowest
    return bits
