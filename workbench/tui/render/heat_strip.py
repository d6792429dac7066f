"""Heat strips: a number for each token of a text, as the token's background and as a bar under it.

The background carries the size for the eye that skims; the row under it carries size and sign without any colour:
`▁▂▅█` for a positive value, `−▅▅` for a negative one. Zero is fixed, so the same glyph means the same share of `scale`
in every strip that is given that scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from workbench.tui.render.bars import MINUS, column
from workbench.tui.render.tokens import fit, show_token

_WARM, _COLD = (230, 97, 1), (70, 130, 220)
"""Positive and negative at full strength: told apart by every kind of colour blindness."""
_POSITIVE, _NEGATIVE = (Style.parse(f"rgb({red},{green},{blue})") for red, green, blue in (_WARM, _COLD))
_GROUND = {True: (28, 28, 28), False: (250, 250, 250)}
"""What weak values fade into, for a dark and a light theme."""
_STEPS = 12
"""Strengths that the background tells apart; below half of one it has none."""
_READABLE = 140
"""Luminance (0..255) above which dark letters are read best."""


@dataclass(frozen=True)
class _Cell:
    """One token ready to be placed."""

    token: str
    bars: str
    background: Style


def heat_strip(
    tokens: Sequence[str],
    values: Sequence[float],
    width: int,
    scale: float | None = None,
    mark: int | None = None,
    dark: bool = True,
) -> list[Text]:
    """Two rows for each line of `tokens` wrapped to `width` cells: the tokens, and the sizes of their `values`.

    `scale` is the |value| that fills a cell (its own largest without it; larger ones are clamped); give strips that are
    to be compared the same one. NaN stands for no value. `mark` underlines the token at that position. `dark` says what
    weak backgrounds fade into. Raises ValueError unless there is one value a token.
    """
    if len(tokens) != len(values):
        raise ValueError(f"{len(tokens)} tokens and {len(values)} values")
    full = strip_scale([values]) if scale is None else scale
    cells = [_cell(token, value, full, width, dark) for token, value in zip(tokens, values, strict=True)]
    strips: list[Text] = []
    used = width
    for position, (cell, value) in enumerate(zip(cells, values, strict=True)):
        if used + cell_len(cell.token) > width:
            strips += [Text(no_wrap=True, overflow="crop"), Text(no_wrap=True, overflow="crop")]
            used = 0
        used += cell_len(cell.token)
        emphasis = Style(underline=True, bold=True) if position == mark else Style()
        strips[-2].append(cell.token, style=cell.background + emphasis)
        strips[-1].append(cell.bars, style=_NEGATIVE if value < 0 else _POSITIVE)
    return strips


def strip_scale(strips: Sequence[Sequence[float]]) -> float:
    """The scale at which the largest |value| of all these strips fills its cell; 0 where there is none."""
    return max((abs(value) for values in strips for value in values if math.isfinite(value)), default=0.0)


def _cell(token: str, value: float, scale: float, width: int, dark: bool) -> _Cell:
    shown = fit(show_token(token), max(width, 1))
    share = 0.0 if math.isnan(value) or scale <= 0 else max(-1.0, min(1.0, value / scale))
    if share < 0 and cell_len(shown) == 1:
        shown += " "  # room for the sign beside the size
    return _Cell(shown, _bars(share, cell_len(shown)), _background(share, dark))


def _bars(share: float, cells: int) -> str:
    """The row under a token, a blank at its end where there is room, so that neighbours stay apart."""
    sign = MINUS if share < 0 else ""
    room = cells - len(sign)
    filled = room - 1 if room > 1 else room
    return (sign + column(abs(share)) * filled).ljust(cells)


def _background(share: float, dark: bool) -> Style:
    step = round(abs(share) * _STEPS) / _STEPS
    if step == 0:
        return Style()
    strong, ground = _COLD if share < 0 else _WARM, _GROUND[dark]
    red, green, blue = (round(low + step * (high - low)) for low, high in zip(ground, strong, strict=True))
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    letters = "rgb(0,0,0)" if luminance > _READABLE else "rgb(255,255,255)"
    return Style.parse(f"{letters} on rgb({red},{green},{blue})")
