"""Ranks and correlations from their definitions, in loops."""

import math


def rank_by_counting(items: list[float]) -> list[float]:
    """How many are smaller, plus half of the others that are equal."""
    return [sum(x < y for x in items) + (sum(x == y for x in items) - 1) / 2 for y in items]


def correlation(left: list[float], right: list[float]) -> float | None:
    """Pearson's r from its definition; None for fewer than three or constant values."""
    n = len(left)
    if n < 3 or len(set(left)) == 1 or len(set(right)) == 1:
        return None
    a, b = sum(left) / n, sum(right) / n
    product = sum((x - a) * (y - b) for x, y in zip(left, right, strict=True))
    return product / math.sqrt(sum((x - a) ** 2 for x in left) * sum((y - b) ** 2 for y in right))
