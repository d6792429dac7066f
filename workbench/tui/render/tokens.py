"""Text from models, data sets and people, made inert before a terminal sees it.

A vocabulary holds ESC, C1 controls, bidi overrides and `[/INST]`: sent as they are, they move the cursor, write the
clipboard or end the app. Every string that this project did not write itself passes `show_token` or `show_text`, and
what they return goes into `rich.text.Text`, never into markup.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

EDGE_SPACE = "·"
"""A leading or trailing space of a token: ` Paris` and `Paris` are different tokens."""
EMPTY = "∅"
"""A token without text."""
ELLIPSIS = "…"
"""What stands for text cut off by `fit`."""

_NAMED = {"\n": "⏎", "\t": "⇥", "\x7f": "␡", "\xa0": "⍽"}
# Printable by category, yet nothing is seen: fillers, blanks, joiners and variation selectors.
_INVISIBLE = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
    | {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)}
)


def show_token(text: str) -> str:
    """One token as it may stand in a line: inert, with its edge spaces visible and nothing empty."""
    if not text:
        return EMPTY
    inner = text.strip(" ")
    if not inner:
        return EDGE_SPACE * len(text)
    before = len(text) - len(text.lstrip(" "))
    after = len(text) - len(text.rstrip(" "))
    return EDGE_SPACE * before + show_text(inner) + EDGE_SPACE * after


def show_text(text: str) -> str:
    """Running text (a prompt, a label, a path) as one inert line; its spaces stay spaces."""
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(map(_glyph, text))
    return "◌" + shown if unicodedata.category(shown[0]) in {"Mn", "Me"} or cell_len(shown[0]) == 0 else shown


def fit(shown: str, cells: int) -> str:
    """`shown` (already inert) cut to at most `cells` terminal cells, the cut marked by an ellipsis."""
    if cell_len(shown) <= cells:
        return shown
    return set_cell_size(shown, cells - 1).rstrip(" ") + ELLIPSIS if cells > 0 else ""


@lru_cache(maxsize=65536)
def _glyph(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if character.isprintable() and code not in _INVISIBLE and unicodedata.category(character) != "Co":
        return character
    return f"⟨U+{code:04X}⟩"
