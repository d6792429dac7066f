"""Numbers as marks: signed bars in eighth blocks, and numbers in the width of a column.

Nothing is said by colour alone: the sign has a glyph and the strength a length, so a terminal without colour shows
the same.
"""

from __future__ import annotations

import math

from rich.text import Text

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_RISING = " ▁▂▃▄▅▆▇█"
PLUS, MINUS = "+", "−"


def bar(share: float, cells: int) -> str:
    """The size of `share` (clamped to 0..1) as `cells` cells of eighth blocks; anything above 0 leaves a mark."""
    size = min(max(share, 0.0), 1.0)
    eighths = round(size * cells * 8)
    if size > 0 and eighths == 0:
        eighths = 1
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def column(share: float) -> str:
    """The size of `share` (clamped to 0..1) as one cell filled from below; anything above 0 leaves a mark."""
    size = min(max(share, 0.0), 1.0)
    return _RISING[max(round(8 * size), 1 if size > 0 else 0)]


def signed_bar(share: float, cells: int) -> Text:
    """The sign as a glyph and the size of `share` (clamped to −1..1) as a bar of `cells` cells."""
    style = "red" if share < 0 else "green"
    return Text(sign(share) + bar(abs(share), cells), style=style)


def sign(value: float) -> str:
    """`+`, `−`, or a space for nothing."""
    return PLUS if value > 0 else MINUS if value < 0 else " "


def signed(value: float | None, digits: int = 3) -> str:
    """A signed number for a column: `+1.234`, `−0.010`; `–` where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return sign(value) + f"{abs(value):.{digits}f}"


def number(value: float | None, digits: int = 3) -> str:
    """A number for a column; `–` where there is none, scientific where the digits would show nothing but zeros."""
    if value is None or math.isnan(value):
        return "–"
    if value != 0 and abs(value) < 10**-digits:
        return f"{value:.1e}".replace("-", MINUS)
    return f"{value:.{digits}f}".replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """A share as per cent: `4.1 %`, `0.04 %` where one digit would show nothing; `–` where there is none."""
    if share is None or math.isnan(share):
        return "–"
    if 0 < abs(share) < 0.5 * 10 ** (-2 - digits):
        digits += 1
    return f"{100 * share:.{digits}f} %".replace("-", MINUS)


def duration(seconds: float) -> str:
    """A time span for a person: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
