"""Doses of an intervention: `--sweep -2..2/9` is nine strengths from -2 to 2, evenly spaced, both ends among them.

At dose d the edits are done d times as strongly: z' = z + d · (z'_as_written - z). 0 changes nothing, 1 is the edits as
they are written, 2 twice that, and -1 moves every feature the other way.
"""

from __future__ import annotations

from tasks.graphs.edit import parse_number
from tasks.graphs.feature_name import Misread

MOST_DOSES = 999
TURN = 0.01
"""A curve that turns back by more than this part of its range is not monotone."""
_HOW = "write it as FIRST..LAST/COUNT, such as -2..2/9"


def parse_doses(text: str) -> tuple[float, ...]:
    """The doses of `FIRST..LAST/COUNT`, rising; `Misread` points at the character where the grammar breaks."""
    first, dots, rest = text.partition("..")
    last, stroke, count = rest.partition("/")
    if not dots or not stroke:
        raise Misread(text, "a sweep", len(text), _HOW)
    after_dots, after_stroke = len(first) + 2, len(first) + 3 + len(last)
    low, high = _number(first, 0), _number(last, after_dots)
    if not high > low:
        raise Misread(text, "a sweep that rises", after_dots, _HOW)
    if not (count.isascii() and count.isdigit() and len(count) < 4 and int(count) > 1):
        raise Misread(count, f"a count of doses from 2 to {MOST_DOSES}", after_stroke, _HOW)
    steps = int(count) - 1
    return (*(low + (high - low) * step / steps for step in range(steps)), high)


def _number(text: str, at: int) -> float:
    try:
        return parse_number(text)
    except Misread as error:
        raise error.moved(at) from None


def is_monotone(values: tuple[float, ...] | list[float]) -> bool:
    """Whether a curve only rises or only falls, up to turns of 1 % of its range."""
    slack = TURN * (max(values) - min(values))
    return _falls_back(values) <= slack or _falls_back([-value for value in values]) <= slack


def _falls_back(values: tuple[float, ...] | list[float]) -> float:
    """The largest drop below a height that was reached before."""
    highest, drop = values[0], 0.0
    for value in values:
        highest = max(highest, value)
        drop = max(drop, highest - value)
    return drop
