"""Nothing from a vocabulary reaches the terminal as a control: all of Unicode, and the embedded vocabulary."""

from __future__ import annotations

import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tasks.model.language_model import LanguageModel
from workbench.tui.render.tokens import fit, show_text, show_token

_INERT = frozenset("LMNPS")  # letters, marks, numbers, punctuation, symbols: the first letter of the category


def is_inert(shown: str) -> bool:
    """By the standard's own categories: letters, marks, numbers, punctuation, symbols, and the plain space."""
    return all(c == " " or unicodedata.category(c)[0] in _INERT for c in shown)


def test_every_character_of_unicode_becomes_inert_and_visible() -> None:
    for code in range(sys.maxunicode + 1):
        shown = show_token(chr(code))
        assert is_inert(shown), f"U+{code:04X} gave {shown!r}"
        assert cell_len(shown) >= 1, f"U+{code:04X} cannot be seen"
        assert " " not in shown


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" Paris", "·Paris"),
        ("a b ", "a b·"),
        ("  ", "··"),
        ("", "∅"),
        ("\n\n", "⏎⏎"),
        ("\t", "⇥"),
        ("\x1b[31m", "␛[31m"),
        ("\x9b2J", "⟨U+009B⟩2J"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("\u200b", "⟨U+200B⟩"),
        ("\u0301", "◌\u0301"),
        ("[/INST]", "[/INST]"),
        ("[@click=app.quit]x[/]", "[@click=app.quit]x[/]"),
    ],
)
def test_given_a_hostile_or_plain_token_when_shown_then_it_reads_so(token: str, shown: str) -> None:
    assert show_token(token) == shown


@given(st.text())
def test_given_any_text_when_shown_then_inert_and_a_second_pass_changes_nothing(text: str) -> None:
    shown = show_text(text)
    assert is_inert(shown)
    assert show_text(shown) == shown


@given(st.text(), st.integers(1, 40))
def test_given_any_text_when_fitted_then_it_keeps_to_its_cells(text: str, cells: int) -> None:
    shown = show_text(text)
    fitted = fit(shown, cells)
    assert cell_len(fitted) <= cells
    assert fitted == shown or fitted.endswith("…")


@pytest.mark.embedded
def test_given_the_embedded_vocabulary_when_printed_then_no_control_byte_reaches_the_terminal(
    embedded: LanguageModel,
) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=10_000, force_terminal=True, color_system=None)
    tokenizer = embedded.tokenizer
    for token_id in range(len(tokenizer)):
        console.print(Text(show_token(str(tokenizer.decode([token_id])))))
    printed = stream.getvalue()
    assert printed.count("\n") == len(tokenizer)
    assert is_inert(printed.replace("\n", ""))
