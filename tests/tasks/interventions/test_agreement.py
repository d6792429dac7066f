"""Agreement of predictions with measurements, against formulas written out as loops."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tasks.interventions.agreement import SMALLEST_EFFECT, Verdict, agreement, noise_floor, ranks, verdict
from tests.oracle.correlation import correlation, rank_by_counting

values = st.lists(st.integers(-6, 6).map(lambda i: i / 2), min_size=0, max_size=12)
numbers = st.floats(-100, 100, allow_subnormal=False)


def array(items: list[float]) -> np.ndarray:
    return np.array(items, dtype=float)


@given(items=values)
def test_ranks_count_what_is_smaller_and_share_ties(items: list[float]) -> None:
    assert ranks(array(items)).tolist() == rank_by_counting(items)


@given(pairs=st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), max_size=12), floor=st.floats(0, 2))
def test_agreement_is_its_definitions(pairs: list[tuple[int, int]], floor: float) -> None:
    predicted, measured = [x / 2 for x, _ in pairs], [y / 4 for _, y in pairs]
    found = agreement(array(predicted), array(measured), floor)
    assert found.n == len(pairs)
    assert found.pearson == pytest.approx(correlation(predicted, measured), abs=1e-12)
    expected = correlation(rank_by_counting(predicted), rank_by_counting(measured))
    assert found.spearman == pytest.approx(expected, abs=1e-12)
    square = sum(x * x for x in predicted)
    product = sum(x * y for x, y in zip(predicted, measured, strict=True))
    assert found.slope == (pytest.approx(product / square) if square else None)
    loud = [(x, y) for x, y in zip(predicted, measured, strict=True) if abs(x) >= floor or abs(y) >= floor]
    same = [(x > 0) - (x < 0) == (y > 0) - (y < 0) for x, y in loud]
    assert found.sign_agreement == (pytest.approx(sum(same) / len(same)) if same else None)


def test_given_effects_that_are_rounding_when_compared_then_their_signs_are_not_counted() -> None:
    predicted, measured = array([0.4, -0.3, 1e-6, -2e-6, 3e-7]), array([0.5, -0.2, -1e-6, 1e-6, -4e-7])
    assert agreement(predicted, measured, SMALLEST_EFFECT).sign_agreement == 1.0
    assert agreement(predicted, measured).sign_agreement == pytest.approx(2 / 5)
    assert agreement(predicted[2:], measured[2:], SMALLEST_EFFECT).sign_agreement is None


@given(items=st.lists(numbers, min_size=3, max_size=10, unique=True), scale=st.floats(0.1, 10))
def test_a_scaled_prediction_correlates_fully_and_its_slope_is_the_scale(items: list[float], scale: float) -> None:
    assume(all(later - earlier > 1e-3 for earlier, later in pairwise(sorted(items))))
    found = agreement(array(items), scale * array(items))
    assert found.pearson == pytest.approx(1) and found.spearman == pytest.approx(1)
    assert found.slope == pytest.approx(scale) and found.sign_agreement == 1


def test_spearman_sees_only_the_order() -> None:
    predicted = array([1, 2, 3, 4, 5])
    found = agreement(predicted, predicted**5)
    assert found.spearman == pytest.approx(1) and found.pearson is not None and found.pearson < 0.95
    assert agreement(predicted, -predicted).spearman == pytest.approx(-1)


@pytest.mark.parametrize(
    ("predicted", "measured", "expected"),
    [
        (1.0, 1.9, Verdict.CONFIRMED),
        (1.0, 0.51, Verdict.CONFIRMED),
        (-1.0, -2.0, Verdict.CONFIRMED),
        (1.0, 2.1, Verdict.WEAK),
        (1.0, 0.49, Verdict.WEAK),
        (1.0, 0.0, Verdict.WEAK),
        (1.0, -0.2, Verdict.CONTRADICTED),
        (-0.05, 1.0, Verdict.CONTRADICTED),
        (0.1, -0.1, Verdict.WEAK),
        (0.1, 0.1, Verdict.WEAK),
    ],
)
def test_a_verdict_is_about_sign_and_a_factor_of_two_above_the_floor(
    predicted: float, measured: float, expected: Verdict
) -> None:
    assert verdict(predicted, measured, 0.1) is expected


def test_the_floor_is_the_median_control_and_never_below_rounding() -> None:
    assert noise_floor(array([-0.3, 0.1, 0.2])) == 0.2
    assert noise_floor(array([1e-9, 1e-9])) == SMALLEST_EFFECT == noise_floor(array([]))
