"""Lines with a legend as one SVG: a logarithmic x axis, a linear y axis that fits what is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 520, 320, 60, 16, 48, 130
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by the colour-blind too (Okabe and Ito's)."""
_STYLE = "text{font:12px sans-serif;fill:#444}.grid{stroke:#ccc;stroke-width:.5}"


@dataclass(frozen=True)
class Line:
    """`y` against `x` (positive, ascending), a mark at each point."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def plot(lines: Sequence[Line], x_name: str, y_name: str) -> str:
    """All lines over the same axes."""
    xs, ys = [x for line in lines for x in line.x], [y for line in lines for y in line.y]
    low_x, high_x = math.log(min(xs) / 1.1), math.log(max(xs) * 1.1)
    margin = max((max(ys) - min(ys)) / 10, 1e-3)
    low_y, high_y = min(ys) - margin, max(ys) + margin

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (math.log(x) - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y)
        return LEFT + across * WIDTH, TOP + (1 - up) * HEIGHT

    drawn = [_gridline(y, at(math.exp(low_x), y)[1]) for y in _ticks(low_y, high_y)]
    drawn += [_text(at(x, low_y)[0], TOP + HEIGHT + 18, f"{x:g}", "middle") for x in _powers(low_x, high_x)]
    drawn += [_drawn(line, _COLOURS[i % len(_COLOURS)], [at(*xy) for xy in zip(line.x, line.y, strict=True)])
              for i, line in enumerate(lines)]  # fmt: skip
    drawn += [_named(i, line.name) for i, line in enumerate(lines)]
    drawn.append(_text(LEFT + WIDTH / 2, TOP + HEIGHT + 38, x_name, "middle"))
    drawn.append(f'<g transform="translate(14,{TOP + HEIGHT / 2}) rotate(-90)">{_text(0, 0, y_name, "middle")}</g>')
    width, height = LEFT + WIDTH + LEGEND, TOP + HEIGHT + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="white"/>{"".join(drawn)}</svg>\n'
    )


def _drawn(line: Line, colour: str, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{marks}'


def _named(place: int, name: str) -> str:
    x, y = LEFT + WIDTH + 16, TOP + 14 + 20 * place
    mark = f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{_COLOURS[place % len(_COLOURS)]}"/>'
    return mark + _text(x + 10, y, name, "start")


def _gridline(y: float, height: float) -> str:
    line = f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{height:.1f}" y2="{height:.1f}"/>'
    return line + _text(LEFT - 6, height + 4, f"{y:g}", "end")


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """About six round numbers."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 7)
    return [round(step * i, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Powers of two between e^low and e^high."""
    return [2.0**i for i in range(math.ceil(low / math.log(2)), math.floor(high / math.log(2)) + 1)]
