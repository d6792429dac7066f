"""Sweeps: the doses that are written, and whether a curve turns back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.doses import is_monotone, parse_doses
from tasks.graphs.feature_name import Misread


def test_given_a_sweep_when_read_then_its_doses_are_even_and_hold_both_ends() -> None:
    assert parse_doses("-2..2/9") == (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
    assert parse_doses("0...5/2") == (0.0, 0.5)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 999))
def test_given_any_sweep_when_read_then_the_doses_rise_from_the_first_to_the_last(
    first: float, width: float, count: int
) -> None:
    doses = parse_doses(f"{first!r}..{first + width!r}/{count}")
    assert len(doses) == count and (doses[0], doses[-1]) == (first, first + width)
    assert list(doses) == sorted(set(doses))


@pytest.mark.parametrize(
    ("text", "character", "fault"),
    [
        ("", 1, "'' is not a sweep"),
        ("1", 2, "'1' is not a sweep"),
        ("-2..2", 6, "'-2..2' is not a sweep"),
        ("-2-2/9", 7, "is not a sweep"),
        ("x..2/9", 1, "'x' is not a number"),
        ("..2/9", 1, "'' is not a number"),
        ("-2..nan/9", 5, "'nan' is not a number"),
        ("-2..inf/9", 5, "'inf' is not a number"),
        ("2..2/9", 4, "is not a sweep that rises"),
        ("2..-2/9", 4, "is not a sweep that rises"),
        ("-2..2/1", 7, "'1' is not a count of doses from 2 to 999"),
        ("-2..2/", 7, "'' is not a count"),
        ("-2..2/9.5", 7, "'9.5' is not a count"),
        ("-2..2/1000", 7, "'1000' is not a count"),
        ("-2..2/٣", 7, "'٣' is not a count"),
    ],
)
def test_given_what_is_no_sweep_when_read_then_the_character_is_pointed_at(
    text: str, character: int, fault: str
) -> None:
    with pytest.raises(Misread, match=fault) as raised:
        parse_doses(text)
    assert raised.value.at == character - 1


@pytest.mark.parametrize(
    ("values", "monotone"),
    [
        ([1.0, 2.0, 2.0, 5.0], True),
        ([3.0, 1.0, -4.0], True),
        ([0.0, 0.0], True),
        ([0.0, 10.0, 9.95, 20.0], True),
        ([0.0, 10.0, 9.0, 20.0], False),
        ([0.0, 5.0, 0.0], False),
        ([0.0, 1.0, 0.5, 1.5, 1.0, 2.0], False),
    ],
)
def test_given_a_curve_when_judged_then_only_turns_that_count_make_it_not_monotone(
    values: list[float], monotone: bool
) -> None:
    assert is_monotone(values) is monotone
    assert is_monotone([-value for value in values]) is monotone
    assert is_monotone(values[::-1]) is monotone
