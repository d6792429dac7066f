"""The Δlogit board: a line an edit with what was predicted of it, what was measured, and the gap between the two.

Changes are after - before of the logit difference, in nats, as everywhere in `workbench intervene`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import signed, signed_bar
from workbench.tui.render.tokens import ELLIPSIS, fit, show_text, show_token

_NUMBER = 10
_BAR = 6
_WIDE = 74
"""Cells from which a line has a bar too."""
OF_RUN = "*"
"""Behind a prediction that is the run's own first order, where the graph has none."""
_HELD = {"none": "nothing", "attention": "attention patterns", "direct": "all but the direct path"}
_WRITTEN = {"delta": "delta: error kept", "replace": "replace: replacement model"}
_REACH = {"generated": "prompt and generated", "prompt": "the prompt alone"}


@dataclass(frozen=True)
class BoardLine:
    """One line. Texts are raw."""

    edit: str
    active: bool = True
    words: str = ""
    """What is known of the feature; inert already."""
    predicted: float | None = None
    of_run: bool = False
    """Whether the prediction is the run's own first order, and not the graph's."""
    measured: float | None = None
    state: str = ""
    """What stands in place of a number: queued, running, failed."""
    is_total: bool = False

    @property
    def gap(self) -> float | None:
        """Measured - predicted."""
        return None if self.measured is None or self.predicted is None else self.measured - self.predicted


@dataclass(frozen=True)
class BoardSetup:
    """What all edits of a board have in common. Texts are raw; an empty decisive token is the most probable one."""

    prompt: str
    decisive: str
    rival: str
    dictionary: str
    graph: int | None
    freeze: str
    spelling: str
    positions: str
    source: str
    doses: str
    against_mean: bool = False
    """Whether the decisive token is compared with the mean of all logits, and not with a rival."""

    @property
    def pair(self) -> str:
        """The two that are compared, inert; empty where the decisive token is not known yet."""
        if self.against_mean:
            return f"{show_token(self.decisive)} − mean of all"
        return f"{show_token(self.decisive)} − {show_token(self.rival)}" if self.decisive and self.rival else ""


def board_line(line: BoardLine, width: int, scale: float) -> Text:
    """`[x] ablate L12/345@7  ·Paris → ·French   −0.525   −0.546   −0.021` in `width` cells; `scale` fills the bar."""
    bars = width >= _WIDE
    room = max(width - 4 - 3 * _NUMBER - (_BAR + 2 if bars else 0), 8)
    mark = "Σ   " if line.is_total else "[x] " if line.active else "[ ] "
    text = Text(mark, no_wrap=True, style="" if line.active or line.is_total else "dim")
    text.append(_named(line, room))
    predicted = signed(line.predicted) + (OF_RUN if line.of_run and line.predicted is not None else " ")
    text.append(f"{predicted:>{_NUMBER}}")
    measured = line.state or signed(line.measured)
    text.append(f"{measured:>{_NUMBER - 1}} ", style="bold" if line.measured is not None else "dim")
    text.append(f"{signed(line.gap):>{_NUMBER - 1}} ", style="dim")
    if bars:
        text.append(" ").append_text(signed_bar(_size(line) / scale if scale else 0.0, _BAR))
    return text


def _named(line: BoardLine, room: int) -> str:
    """The edit and, where there is room, what its feature is about."""
    name = fit(show_text(line.edit), room - 1)
    left = room - cell_len(name) - 3
    words = f"  {fit(line.words, left)}" if left > 6 and line.words else ""
    return _padded(name + words, room)


def _padded(shown: str, cells: int) -> str:
    return shown + " " * max(cells - cell_len(shown), 0)


def board_heading(setup: BoardSetup, width: int, starred: bool = False) -> Text:
    """The names of the columns under the quantity and its unit."""
    star = f"  {OF_RUN} the run's" if starred else ""
    room = max(width - 5 - 3 * _NUMBER - (_BAR + 2 if width - 1 >= _WIDE else 0), 8)
    names = "".join(f"{name:>{_NUMBER - 1}} " for name in ("predicted", "measured", "gap"))
    quantity = fit(f" Δ logit {setup.pair or 'difference'}, nats (after − before){star}", width)
    return Text(f"{quantity}\n{_padded(' edit', room + 5)}{names}", style="dim", no_wrap=True)


def setup_lines(setup: BoardSetup, width: int) -> Text:
    """The prompt and the options, each behind the key that changes it, on as many lines as they need."""
    text = Text(no_wrap=True)
    _key(text, "p", "prompt")
    text.append(_end_of(show_text(setup.prompt), max(width - 11, 8)) if setup.prompt else "none yet")
    target = setup.pair or (f"{show_token(setup.decisive)} − next" if setup.decisive else "most probable − next")
    of_graph = f" of graph {setup.graph}" if setup.graph is not None else ""
    options = [
        ("t", "target", target),
        ("c", "dictionary", f"{show_text(setup.dictionary)}{of_graph}"),
        ("f", "held", _HELD[setup.freeze]),
        ("s", "written", _WRITTEN[setup.spelling]),
        ("o", "@* reaches", _REACH[setup.positions]),
        ("w", "doses", show_text(setup.doses)),
    ]
    if setup.source:
        options.append(("F", "swap from", _end_of(show_text(setup.source), 40)))
    used = width
    for key, name, value in options:
        needed = cell_len(name) + cell_len(value) + 6
        text.append("\n" if used + needed > width else "  ")
        used = needed if used + needed > width else used + needed
        _key(text, key, name)
        text.append(fit(value, max(width - cell_len(name) - 4, 8)))
    return text


def _key(text: Text, key: str, name: str) -> None:
    text.append(f" {key} ", style="bold").append(f"{name} ", style="dim")


def _end_of(shown: str, cells: int) -> str:
    """The end of a text, which is where its next token is decided."""
    if cell_len(shown) <= cells:
        return shown
    kept = shown[-cells:]
    while cell_len(kept) > cells - 1:
        kept = kept[1:]
    return ELLIPSIS + kept


def board_table(setup: BoardSetup, lines: Sequence[BoardLine], width: int) -> Group:
    """The whole board, for a file or a printer."""
    starred = any(line.of_run and line.predicted is not None for line in lines)
    heading = board_heading(setup, width, starred)
    scale = largest(lines)
    return Group(setup_lines(setup, width), Text(""), heading, *(board_line(line, width, scale) for line in lines))


def largest(lines: Sequence[BoardLine]) -> float:
    """The largest |measured| change: what fills a bar."""
    return max((abs(_size(line)) for line in lines), default=0.0)


def _size(line: BoardLine) -> float:
    return line.measured if line.measured is not None and math.isfinite(line.measured) else 0.0


def kept_words(line: BoardLine, pair: str, prompt: str) -> str:
    """A finding in a sentence: the edit, what it did, what was predicted, on which prompt. Inert."""
    foretold = "" if line.predicted is None else f" (predicted {signed(line.predicted)})"
    edits = fit(show_text(line.edit), 200)
    where = fit(show_text(prompt), 120)
    return f"{edits}: logit difference {pair} {signed(line.measured)} nats{foretold}, after “{where}”"
