"""Small line plots with logarithmic axes as one SVG: two rows of panels, nothing needed to draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, GAP = 220, 150, 46, 40, 24
_STYLE = (
    "text{font:11px sans-serif;fill:#555}.line{fill:none;stroke:#0a6ebd;stroke-width:2}"
    ".dot{fill:#0a6ebd}.grid{stroke:#ccc;stroke-width:.5}"
)


@dataclass(frozen=True)
class Series:
    """One line: `y` against `x`, all positive."""

    x_name: str
    y_name: str
    x: Sequence[float]
    y: Sequence[float]


def panels(series: Sequence[Series]) -> str:
    """Pairs of series become columns of two panels."""
    columns = math.ceil(len(series) / 2)
    width, height = columns * (WIDTH + LEFT + GAP), 2 * (HEIGHT + BOTTOM + GAP)
    drawn = [
        f'<g transform="translate({(i // 2) * (WIDTH + LEFT + GAP) + LEFT},{(i % 2) * (HEIGHT + BOTTOM + GAP) + GAP})">'
        f"{_panel(each)}</g>"
        for i, each in enumerate(series)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="white"/>{"".join(drawn)}</svg>\n'
    )


def _panel(series: Series) -> str:
    horizontal, vertical = _Axis.around(series.x), _Axis.around(series.y)
    points = [
        (horizontal.at(x) * WIDTH, (1 - vertical.at(y)) * HEIGHT) for x, y in zip(series.x, series.y, strict=True)
    ]
    parts = [f'<text x="0" y="-8">{escape(series.y_name)}</text>']
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT + 32}" text-anchor="middle">{escape(series.x_name)}</text>')
    for value in horizontal.ticks:
        x = horizontal.at(value) * WIDTH
        parts.append(f'<path class="grid" d="M{x:.1f} 0V{HEIGHT}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT + 15}" text-anchor="middle">{value:g}</text>')
    for value in vertical.ticks:
        y = (1 - vertical.at(value)) * HEIGHT
        parts.append(f'<path class="grid" d="M0 {y:.1f}H{WIDTH}"/>')
        parts.append(f'<text x="-5" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<path class="line" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>')
    parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    return "".join(parts)


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis between two of its ticks."""

    ticks: tuple[float, ...]

    @classmethod
    def around(cls, values: Sequence[float]) -> _Axis:
        """The ticks 1, 2, 5 · 10ⁿ from just below the smallest value to just above the largest."""
        powers = range(math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 1)
        every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        first = max(tick for tick in every if tick <= min(values))
        last = min(tick for tick in [*every, every[-1] * 2] if tick >= max(values))
        ticks = tuple(tick for tick in every if first <= tick <= last)
        return cls(ticks if len(ticks) > 1 else (first, last * 2))

    def at(self, value: float) -> float:
        """0 at the first tick, 1 at the last."""
        return math.log(value / self.ticks[0]) / math.log(self.ticks[-1] / self.ticks[0])
