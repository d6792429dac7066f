"""A plot as one small SVG: lines or marks over two axes, for figures that stand beside the numbers they show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

Point = tuple[float, float]

_WIDTH, _HEIGHT = 640.0, 400.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 150.0, 40.0, 52.0
_TICKS = 5
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_STYLE = "text{font:11px system-ui,sans-serif;fill:#1c2430}.title{font-size:14px;font-weight:600}.axis{stroke:#9aa7b4}"


@dataclass(frozen=True)
class Plot:
    """Named series of points; `marks` draws them as dots, otherwise each is a line."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Point]]
    marks: bool = False
    diagonal: bool = False
    """Whether to draw y = x, where prediction and measurement agree."""

    def svg(self) -> bytes:
        """The figure. Points that are not finite are left out; without any, the axes stand alone."""
        kept = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in self.series.items()}
        frame = _Frame.around([point for points in kept.values() for point in points], square=self.diagonal)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img">',
            f"<title>{_inert(self.title)}</title><style>{_STYLE}</style>",
            f'<rect width="{_WIDTH:g}" height="{_HEIGHT:g}" fill="#fff"/>',
            f'<text class="title" x="{_LEFT:g}" y="22">{_inert(self.title)}</text>',
            *frame.axes(self.x_label, self.y_label),
            *(frame.diagonal() if self.diagonal else ()),
        ]
        for number, (name, points) in enumerate(kept.items()):
            parts += [*frame.drawn(points, number, self.marks), *_legend(name, number, self.marks)]
        return "\n".join([*parts, "</svg>", ""]).encode("utf-8", "replace")


@dataclass(frozen=True)
class _Frame:
    """The values at the edges of the plot."""

    x0: float
    x1: float
    y0: float
    y1: float

    @classmethod
    def around(cls, points: Sequence[Point], square: bool) -> _Frame:
        xs, ys = [x for x, _ in points] or [0.0, 1.0], [y for _, y in points] or [0.0, 1.0]
        if square:
            xs = ys = [*xs, *ys]
        low, high = _widened(min(xs), max(xs)), _widened(min(ys), max(ys))
        return cls(*low, *high)

    def place(self, point: Point) -> Point:
        across = (point[0] - self.x0) / (self.x1 - self.x0) * (_WIDTH - _LEFT - _RIGHT)
        up = (point[1] - self.y0) / (self.y1 - self.y0) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    def axes(self, x_label: str, y_label: str) -> Iterator[str]:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        yield f'<path class="axis" fill="none" d="M{_LEFT:g} {_TOP:g}V{bottom:g}H{right:g}"/>'
        for tick in range(_TICKS):
            part = tick / (_TICKS - 1)
            x, y = self.x0 + part * (self.x1 - self.x0), self.y0 + part * (self.y1 - self.y0)
            left, top = self.place((x, y))
            yield f'<text x="{left:.1f}" y="{bottom + 16:g}" text-anchor="middle">{x:.4g}</text>'
            yield f'<text x="{_LEFT - 6:g}" y="{top + 4:.1f}" text-anchor="end">{y:.3g}</text>'
        yield f'<text x="{(_LEFT + right) / 2:g}" y="{_HEIGHT - 14:g}" text-anchor="middle">{_inert(x_label)}</text>'
        yield f'<text x="{_LEFT - 50:g}" y="{_TOP - 8:g}">{_inert(y_label)}</text>'

    def diagonal(self) -> Iterator[str]:
        (x1, y1), (x2, y2) = self.place((self.x0, self.x0)), self.place((self.x1, self.x1))
        yield f'<path stroke="#9aa7b4" stroke-dasharray="4 4" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'

    def drawn(self, points: Sequence[Point], number: int, marks: bool) -> Iterator[str]:
        places = [self.place(point) for point in points]
        if marks:
            for x, y in places:
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" {_paint(number, marks)}/>'
        elif places:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            yield f'<path d="M{path}" {_paint(number, marks)}/>'


def _widened(low: float, high: float) -> tuple[float, float]:
    room = 0.05 * (high - low) or 0.5 * max(abs(low), 1e-12)
    return low - room, high + room


def _paint(number: int, marks: bool) -> str:
    """A series is told by grey level and by dashes (lines) or by filling (marks), never by colour alone."""
    shade = ("#1b6b8f", "#c2491d", "#4d6b2f", "#6b4d8f")[number % 4]
    if marks:
        return f'fill="{shade if number % 2 == 0 else "#fff"}" stroke="{shade}"'
    dashes = _DASHES[number // 4 % len(_DASHES)]
    return f'fill="none" stroke="{shade}" stroke-width="1.5"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _legend(name: str, number: int, marks: bool) -> Iterator[str]:
    x, y = _WIDTH - _RIGHT + 14, _TOP + 16 * number
    if y > _HEIGHT - _BOTTOM:
        return
    if marks:
        yield f'<circle cx="{x + 9:g}" cy="{y:g}" r="3" {_paint(number, marks)}/>'
    else:
        yield f'<path d="M{x:g} {y:g}h18" {_paint(number, marks)}/>'
    yield f'<text x="{x + 24:g}" y="{y + 4:g}">{_inert(name)}</text>'


def _inert(text: str) -> str:
    """Text for a file that a browser opens: no markup, nothing that is not printed."""
    return escape("".join(character if character.isprintable() else "�" for character in text))
