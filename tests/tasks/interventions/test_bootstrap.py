"""Percentile intervals, against resamples drawn and correlated one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.interventions.agreement import agreement
from tasks.interventions.bootstrap import intervals, weighted_ranks
from tests.oracle.correlation import correlation, rank_by_counting

small = st.integers(-4, 4).map(lambda i: i / 2)


def repeated(values: list[float], counts: list[int]) -> list[float]:
    """The sample that holds each value so many times."""
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


@given(st.lists(st.tuples(small, st.integers(0, 3)), min_size=1, max_size=8).filter(lambda p: any(c for _, c in p)))
def test_given_counts_when_ranked_then_it_is_the_rank_in_the_written_out_sample(pairs: list[tuple[float, int]]) -> None:
    values, counts = [value for value, _ in pairs], [count for _, count in pairs]
    found = weighted_ranks(np.array([counts], dtype=float), np.array(values))[0]
    written = repeated(values, counts)
    expected = dict(zip(written, rank_by_counting(written), strict=True))
    for value, count, rank in zip(values, counts, found.tolist(), strict=True):
        assert not count or rank == expected[value]


@given(st.lists(st.tuples(small, small), min_size=3, max_size=9), st.integers(0, 5), st.floats(0, 2))
def test_given_pairs_when_resampled_then_the_ends_are_quantiles_of_agreements_made_one_by_one(
    pairs: list[tuple[float, float]], seed: int, floor: float
) -> None:
    predicted, measured = (list(column) for column in zip(*pairs, strict=True))
    found = intervals(np.array(predicted), np.array(measured), seed, resamples=40, floor=floor)
    n = len(pairs)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=40).tolist()
    samples = [(repeated(predicted, counts), repeated(measured, counts)) for counts in draws]
    ranked = [correlation(rank_by_counting(x), rank_by_counting(y)) for x, y in samples]
    for name, values in (("pearson", [correlation(x, y) for x, y in samples]), ("spearman", ranked)):
        known = [value for value in values if value is not None]
        expected = None if not known else tuple(np.quantile(known, [0.025, 0.975]).tolist())
        assert getattr(found, name) == (None if expected is None else pytest.approx(expected, abs=1e-9))
    slopes = [agreement(np.array(x), np.array(y)).slope for x, y in samples]
    known = [slope for slope in slopes if slope is not None]
    assert found.slope == (pytest.approx(tuple(np.quantile(known, [0.025, 0.975]))) if known else None)
    drawn = [agreement(np.array(x), np.array(y), floor).sign_agreement for x, y in samples]
    signs = [sign for sign in drawn if sign is not None]
    assert found.sign_agreement == (pytest.approx(tuple(np.quantile(signs, [0.025, 0.975]))) if signs else None)


def test_given_one_seed_when_drawn_twice_then_the_intervals_are_the_same_and_hold_the_number() -> None:
    generator = np.random.default_rng(3)
    predicted = generator.normal(size=60)
    measured = predicted + generator.normal(size=60) * 0.5
    first, second, other = (intervals(predicted, measured, seed) for seed in (1, 1, 2))
    assert first == second != other
    found = agreement(predicted, measured)
    for name in ("pearson", "spearman", "slope", "sign_agreement"):
        low, high = getattr(first, name)
        assert low < getattr(found, name) < high


def test_given_too_few_or_unknown_numbers_when_resampled_then_there_is_no_interval() -> None:
    assert intervals(np.array([1.0, 2.0]), np.array([1.0, 2.0]), 0).pearson is None
    assert intervals(np.array([1.0, np.nan, 3.0]), np.array([1.0, 2.0, 3.0]), 0).slope is None
    assert intervals(np.ones(5), np.arange(5.0), 0).pearson is None
