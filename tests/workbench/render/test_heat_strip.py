"""Heat strips: sizes and signs are read without colour, text stays inert, every row keeps its width."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from workbench.tui.render.heat_strip import heat_strip, strip_scale
from workbench.tui.render.tokens import show_token

HOSTILE = ["[/INST]", "\x1b[31m", "\u202eevil", "\x00", "日本語", "", "  ", "[@click=app.quit]x[/]", "e\u0301", "\n"]
NUMBERS = st.floats(-5, 5) | st.just(math.nan)


def plain(strips: list[Text]) -> list[str]:
    return [strip.plain for strip in strips]


def test_given_values_when_drawn_then_height_is_the_share_of_the_largest_and_zero_leaves_no_mark() -> None:
    assert plain(heat_strip([" The", " cat", " sat"], [8.0, 1.0, 0.0], 40)) == [
        "·The·cat·sat",
        "███ ▁▁▁     ",
    ]


def test_given_a_negative_value_when_drawn_then_its_sign_stands_before_its_size_even_under_one_cell() -> None:
    assert plain(heat_strip(["a", " bcd", "e"], [-1.0, -2.0, 2.0], 40)) == ["a ·bcde", "−▄−██ █"]


def test_given_a_locked_scale_when_two_strips_are_drawn_then_the_same_value_is_drawn_the_same() -> None:
    small, large = [1.0, 0.5], [4.0, 1.0]
    scale = strip_scale([small, large])
    first, second = (heat_strip(["a", "b"], values, 10, scale) for values in (small, large))
    assert scale == 4.0
    assert first[1].plain[0] == second[1].plain[1]
    assert first[0].spans[0].style == second[0].spans[1].style
    assert heat_strip(["a"], [9.0], 4, scale)[1].plain == "█"


def test_given_a_mark_when_drawn_then_that_token_alone_is_underlined() -> None:
    (tokens, _) = heat_strip(["a", "b", "c"], [0.0, 1.0, 1.0], 10, mark=1)
    underlined = [tokens.plain[span.start : span.end] for span in tokens.spans if "underline" in str(span.style)]
    assert underlined == ["b"]


def test_given_no_value_when_drawn_then_neither_background_nor_bar() -> None:
    tokens, bars = heat_strip(["first", " second"], [math.nan, 1.0], 40)
    assert bars.plain.startswith("     ")
    assert [tokens.plain[span.start : span.end] for span in tokens.spans] == ["·second"]


@pytest.mark.parametrize("dark", [True, False])
def test_given_stronger_values_when_drawn_then_the_background_leaves_the_theme_further(dark: bool) -> None:
    tokens, _ = heat_strip(list("abcd"), [0.25, 0.5, 0.75, 1.0], 10, dark=dark)
    far = []
    for span in tokens.spans:
        assert isinstance(span.style, Style)
        assert span.style.bgcolor is not None
        background = span.style.bgcolor.triplet or ()
        ground = (28, 28, 28) if dark else (250, 250, 250)
        far.append(sum(abs(one - other) for one, other in zip(background, ground, strict=True)))
    assert far == sorted(far)
    assert len(set(far)) == len(far)


def test_given_as_many_values_as_not_tokens_when_drawn_then_refused() -> None:
    with pytest.raises(ValueError, match="2 tokens and 1 values"):
        heat_strip(["a", "b"], [1.0], 10)
    assert heat_strip([], [], 10) == []


@given(st.lists(st.tuples(st.sampled_from(HOSTILE) | st.text(max_size=12), NUMBERS), max_size=30), st.integers(2, 90))
def test_given_any_tokens_when_drawn_then_rows_pair_up_in_width_and_nothing_reaches_the_terminal(
    pairs: list[tuple[str, float]], width: int
) -> None:
    strips = heat_strip([token for token, _ in pairs], [value for _, value in pairs], width)
    assert len(strips) % 2 == 0
    for tokens, bars in zip(strips[::2], strips[1::2], strict=True):
        assert cell_len(tokens.plain) == cell_len(bars.plain) <= width
        assert tokens.plain.isprintable()


def test_given_tokens_when_wrapped_then_all_are_there_in_order() -> None:
    tokens = [token for token in HOSTILE * 3 if cell_len(show_token(token)) > 1]
    strips = heat_strip(tokens, [0.5] * len(tokens), 30)
    assert "".join(map(str, strips[::2])) == "".join(map(show_token, tokens))
