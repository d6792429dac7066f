"""A curve in a terminal: measured points joined by dots, first-order points beside them, in plain Unicode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

from workbench.tui.render.bars import number, signed

MEASURED, PREDICTED, BOTH, PATH, LEVEL = "●", "○", "◉", "·", "┄"
ABOVE, BELOW = "△", "▽"
"""A predicted point beyond the plot's edge."""
MOST_COLUMNS = 96
ROOM_FOR_PREDICTED = 0.25
"""The part of the measured range by which the plot grows, each way, to show predicted points."""


@dataclass(frozen=True)
class Curve:
    """What is drawn. All sequences have one entry a point; None where there is no number."""

    x: Sequence[float]
    """Rising."""
    measured: Sequence[float | None]
    predicted: Sequence[float | None]
    level: float
    """A height that is marked right across: the value without any change."""


def curve_plot(curve: Curve, width: int, height: int = 11) -> Text:
    """The curve on `width` columns and `height` lines and two lines of axis, with its heights written at the left."""
    low, high = _range(curve)
    labels = {0: signed(high, 2), height - 1: signed(low, 2)}
    level_row = _row(curve.level, low, high, height)
    if level_row in range(height):
        labels[level_row] = signed(curve.level, 2)
    margin = max(map(len, labels.values())) + 2
    columns = max(min(width - margin, MOST_COLUMNS), 2)
    cells = _cells(curve, low, high, columns, height)
    lines = []
    for row in range(height):
        rule = "┤" if row in labels else "│"
        lines.append(f"{labels.get(row, ''):>{margin - 2}} {rule}{''.join(cells[row])}".rstrip())
    lines += [" " * (margin - 1) + "└" + "─" * columns, " " * margin + _ticks(curve.x, columns)]
    return Text("\n".join(lines), no_wrap=True, overflow="crop")


def legend() -> Text:
    """What the marks of a plot mean."""
    return Text(f"{MEASURED} measured  {PREDICTED} predicted, first order  {BOTH} both  {LEVEL} unedited", style="dim")


def _range(curve: Curve) -> tuple[float, float]:
    """The lowest and highest height drawn; a curve without height gets some."""
    known = [value for value in curve.measured if value is not None] or [curve.level]
    low, high = min(known), max(known)
    room = ROOM_FOR_PREDICTED * (high - low)
    wanted = [*known, curve.level, *(value for value in curve.predicted if value is not None)]
    low, high = max(min(wanted), low - room), min(max(wanted), high + room)
    slack = 0.5 if high - low < 1e-6 else 0.0
    return low - slack, high + slack


def _row(value: float, low: float, high: float, height: int) -> int:
    """The line of a height, 0 at the top; outside 0 … height - 1 beyond the plot's edges."""
    return round((high - value) / (high - low) * (height - 1))


def _column(x: float, xs: Sequence[float], columns: int) -> int:
    return round((x - xs[0]) / (xs[-1] - xs[0]) * (columns - 1))


def _cells(curve: Curve, low: float, high: float, columns: int, height: int) -> list[list[str]]:
    """The plot's characters, line by line: the level lowest, then the path, then the points."""
    cells = [[" "] * columns for _ in range(height)]
    level = _row(curve.level, low, high, height)
    if level in range(height):
        cells[level] = [LEVEL] * columns
    points = [(x, y) for x, y in zip(curve.x, curve.measured, strict=True) if y is not None]
    for (x0, y0), (x1, y1) in pairwise(points):
        first, last = _column(x0, curve.x, columns), _column(x1, curve.x, columns)
        for column in range(first + 1, last):
            y = y0 + (y1 - y0) * (column - first) / (last - first)
            cells[_row(y, low, high, height)][column] = PATH
    for x, y in points:
        cells[_row(y, low, high, height)][_column(x, curve.x, columns)] = MEASURED
    for x, predicted in zip(curve.x, curve.predicted, strict=True):
        if predicted is not None:
            _mark_predicted(cells, _row(predicted, low, high, height), _column(x, curve.x, columns))
    return cells


def _mark_predicted(cells: list[list[str]], row: int, column: int) -> None:
    if row not in range(len(cells)):
        row, mark = (0, ABOVE) if row < 0 else (len(cells) - 1, BELOW)
    else:
        mark = BOTH if cells[row][column] == MEASURED else PREDICTED
    if cells[row][column] != MEASURED or mark == BOTH:
        cells[row][column] = mark


def _ticks(xs: Sequence[float], columns: int) -> str:
    """The ends of the axis, and 0 and 1 where they lie inside and there is room."""
    line = [" "] * columns
    for x in (xs[0], xs[-1], 0.0, 1.0):
        if not xs[0] <= x <= xs[-1]:
            continue
        text = number(x, 0 if x == int(x) else 2)
        start = min(max(_column(x, xs, columns) - len(text) // 2, 0), columns - len(text))
        around = line[max(start - 1, 0) : start + len(text) + 1]
        if start >= 0 and not "".join(around).strip():
            line[start : start + len(text)] = text
    return "".join(line).rstrip()
