"""A line that takes what a person pastes: all of it, but nothing that acts on the terminal."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tests.workbench.tui.screen_text import screen_text, until
from workbench.tui.widgets.inert_input import LONGEST, InertInput, meant_form, typed_form

HOSTILE = "ab\x1b]52;c;eA==\x07\u202e c\x00\x9bd\n[red]second[/red]\tend"


class OneLine(App[int]):
    def compose(self) -> ComposeResult:
        yield InertInput("x\ny", "[red]hint")


def drive(steps: Callable[[Pilot[int], InertInput], Awaitable[None]]) -> None:
    async def run() -> None:
        app = OneLine()
        async with app.run_test(size=(120, 8), notifications=True) as pilot:
            await steps(pilot, app.query_one(InertInput))

    asyncio.run(run())


def test_given_a_paste_with_controls_when_drawn_then_none_is_on_the_screen_and_line_ends_are_kept() -> None:
    async def steps(pilot: Pilot[int], line: InertInput) -> None:
        assert (line.value, line.meant) == ("x⏎y", "x\ny")
        line.value = ""
        line.post_message(events.Paste(HOSTILE))
        await pilot.pause()
        assert line.meant == "ab]52;c;eA== cd\n[red]second[/red]\tend"
        assert line.cursor_position == len(line.value)
        drawn = screen_text(pilot.app)
        assert "ab]52;c;eA== cd⏎[red]second[/red]⇥end" in drawn
        assert drawn.replace("\n", "").isprintable()
        line.select_all()
        line.post_message(events.Paste("instead"))
        await pilot.pause()
        assert line.value == "instead"

    drive(steps)


def test_given_a_hundred_thousand_characters_when_pasted_then_refused_in_a_line_and_what_was_there_stays() -> None:
    async def steps(pilot: Pilot[int], line: InertInput) -> None:
        line.post_message(events.Paste("word " * 20_000))
        await until(pilot, f"takes {LONGEST}")
        assert line.meant == "x\ny"
        await pilot.press("end", "z")
        assert line.meant == "x\nyz"

    drive(steps)


@given(st.text())
def test_given_any_text_when_typed_then_it_is_inert_and_typing_it_again_changes_nothing(text: str) -> None:
    typed = typed_form(text)
    assert all(character.isprintable() or character.isspace() for character in typed)
    assert not set(typed) & {"\n", "\r", "\t", "\x1b", "\x85", "\u2028"}
    assert typed_form(typed) == typed
    assert typed_form(meant_form(typed)) == typed
