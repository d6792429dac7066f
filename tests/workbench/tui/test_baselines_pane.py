"""The baselines pane: what is listed, what the card shows, and what links it to the other panes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.project import Project
from tasks.behaviours import load_behaviours
from tests.workbench.tui.app_project import BEHAVIOUR, CORRUPT, GRAPH, NEURON_GRAPH, PROMPT, SET
from tests.workbench.tui.baselines_steps import (
    LISTED,
    Steps,
    app_on,
    at_prompt,
    insert_fixed,
    insert_fixed_again,
    pane_of,
    queued,
)
from tests.workbench.tui.screen_text import assert_golden_screen, drive, screen_text, until
from workbench.tui.panes.baselines.prompt_form import PromptForm
from workbench.tui.place import Place
from workbench.tui.screens.choice import Choice
from workbench.tui.widgets.line_list import LineList

SIZES = [(80, 24), (160, 48)]


# What is seen.


def test_given_a_project_when_opened_then_behaviours_that_were_run_and_not_run_are_listed(
    project_directory: Path,
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        text = await until(pilot, LISTED)
        assert "not run yet" in text
        assert all(name in text for name in load_behaviours())
        assert "▸ 2/2" in next(line for line in text.splitlines() if BEHAVIOUR in line)

    drive(app, steps, size=(140, 40))


def test_given_a_prompt_under_the_cursor_when_it_rests_then_its_card_shows_what_is_stored(
    project_directory: Path, in_project: Callable[[str], Any]
) -> None:
    app = app_on(project_directory)
    rows = in_project("SELECT top, continuation, p_decisive FROM baseline WHERE variant = 'clean' ORDER BY id")

    async def steps(pilot: Steps) -> None:
        await at_prompt(pilot)
        text = screen_text(app)
        assert "clean" in text
        assert "corrupt" in text
        assert f"{rows[0][2]:.3f}, rank 1" in text
        for token, p in json.loads(rows[0][0]):
            assert token.strip() in text
            assert f"{p:.3f}" in text
        assert " is " in text and "bits" in text
        assert f"{GRAPH}  {SET}" in text and f"{NEURON_GRAPH}  neurons" in text
        assert app.history.here.prompt == PROMPT

    drive(app, steps, size=(160, 60))


def test_given_behaviours_when_enter_and_o_are_pressed_then_prompts_open_and_close(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, LISTED)
        rows = pane_of(app).query_one(LineList)
        before = len(rows.lines)
        await pilot.press("end")
        while pane_of(app).row_place != (BEHAVIOUR, ""):
            await pilot.press("up")
        await pilot.press("enter")
        assert len(rows.lines) == before + 2
        await pilot.press("enter")
        assert len(rows.lines) == before
        await pilot.press("o")
        assert len(rows.lines) == before + 2 + sum(len(each.pairs) for each in load_behaviours().values())
        await pilot.press("o")
        assert len(rows.lines) == before
        assert pane_of(app).row_place == (BEHAVIOUR, "")

    drive(app, steps)


def test_given_words_when_filtering_then_only_what_holds_them_is_shown_and_escape_shows_all(
    project_directory: Path,
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, LISTED)
        pane = pane_of(app)
        before = len(pane.query_one(LineList).lines)
        await pilot.press("slash", *"W71 w3")
        await until(pilot, PROMPT[-12:])
        assert [row.place[0] for row in pane._lines.rows] == [BEHAVIOUR] * 2
        await pilot.press("enter")
        assert pane.query_one(LineList).has_focus
        await pilot.press("escape")
        assert len(pane.query_one(LineList).lines) == before
        assert pane.row_place is not None and pane.row_place[0] == BEHAVIOUR
        await pilot.press("slash", *"nobody")
        await until(pilot, "nothing holds these words")
        await pilot.press("escape", "slash", *"capital france")
        await pilot.press("enter", "home", "enter")
        assert pane.row_place == ("capitals", "")
        assert "capitals" in pane._opened

    drive(app, steps)


def test_given_the_card_when_c_is_pressed_then_it_has_all_the_room_until_escape(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        pane = await at_prompt(pilot)
        narrow = pane.query_one("#card").size.width
        await pilot.press("c")
        await pilot.pause()
        assert pane.query_one("#card").size.width > narrow
        assert pane.query_one("#card").has_focus
        await pilot.press("escape")
        await pilot.pause()
        assert pane.query_one("#card").size.width == narrow
        assert pane.query_one(LineList).has_focus

    drive(app, steps)


@pytest.mark.parametrize("size", SIZES)
def test_given_an_empty_project_when_opened_then_it_says_what_to_press(
    empty_directory: Path, size: tuple[int, int]
) -> None:
    app = app_on(empty_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, "Nothing has been run in this project yet")
        await pilot.pause(0.3)
        await assert_golden_screen("baselines_empty", app)

    drive(app, steps, size=size)


@pytest.mark.parametrize("size", SIZES)
def test_given_prompts_with_fixed_numbers_when_shown_then_the_screen_is_as_it_was_found_right(
    empty_directory: Path, size: tuple[int, int]
) -> None:
    insert_fixed(empty_directory)
    app = app_on(empty_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, "prompt  Pro")
        pane_of(app).show_prompt("The capital of France is", "capitals")
        await until(pilot, "capitals/0")
        await pilot.pause(0.3)
        await assert_golden_screen("baselines_full", app)

    drive(app, steps, size=size)


# What links it.


def test_given_a_place_when_followed_or_gone_to_then_the_cursor_is_on_its_prompt(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, LISTED)
        pane = pane_of(app)
        await pane.follow(Place("graph", prompt=CORRUPT))
        assert pane.row is not None and pane.row.pair is not None and pane.row.pair.pair.corrupt == CORRUPT
        await pane.go(Place("baselines", prompt="w8 w9 w10 w11"))
        assert pane.row.pair.pair.clean == "w8 w9 w10 w11"
        await pane.follow(Place("graph", prompt="of nobody"))
        assert pane.row.pair.pair.clean == "w8 w9 w10 w11"

    drive(app, steps)


def test_given_what_was_open_when_the_app_comes_back_then_it_is_as_it_was_left(project_directory: Path) -> None:
    first, again = app_on(project_directory), app_on(project_directory)

    async def leave(pilot: Steps) -> None:
        await at_prompt(pilot)
        await pilot.press("slash", *"w71")
        await pilot.pause(0.3)
        first.save_state()

    async def come_back(pilot: Steps) -> None:
        await until(pilot, "w71")
        await pilot.pause(0.3)
        pane = pane_of(again)
        assert pane.row is not None and pane.row.pair is not None and pane.row.pair.pair.clean == PROMPT
        assert BEHAVIOUR in pane._opened

    drive(first, leave)
    drive(again, come_back)


def test_given_a_number_when_kept_or_copied_then_it_goes_with_its_provenance(
    project_directory: Path, in_project: Callable[[str], Any]
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        pane = await at_prompt(pilot)
        assert pane.copied() == PROMPT
        await pilot.press("exclamation_mark")
        await until(pilot, "kept")
        await pilot.press("home")
        assert pane.finding() is None
        while pane.row_place != (BEHAVIOUR, ""):
            await pilot.press("down")
        found = pane.finding()
        assert found is not None and "2 of 2 pairs pass" in found[0]
        assert pane.copied() == BEHAVIOUR

    drive(app, steps)
    ((text, provenance),) = in_project("SELECT text, provenance FROM finding")
    ((p, job),) = in_project("SELECT p_decisive, job_id FROM baseline WHERE variant = 'clean' ORDER BY id LIMIT 1")
    assert f"= {p:.3f}, rank 1" in text
    assert json.loads(provenance)["p_decisive"] == p
    assert (json.loads(provenance)["job"], json.loads(provenance)["prompt"]) == (job, PROMPT)


def test_given_a_follower_when_it_presses_keys_that_change_then_nothing_is_asked(project_directory: Path) -> None:
    app = app_on(project_directory, follow=True)

    async def steps(pilot: Steps) -> None:
        await at_prompt(pilot)
        await pilot.press("n", "r", "R", "t", "T", "enter")
        await pilot.pause(0.3)
        assert not isinstance(app.screen, PromptForm | Choice)

    drive(app, steps)
    assert queued(project_directory) == []


def test_given_somebody_who_runs_a_baseline_elsewhere_when_it_ends_then_the_list_has_it_and_the_cursor_stays(
    project_directory: Path,
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        pane = await at_prompt(pilot)
        place = pane.row_place
        insert_fixed_again(project_directory)
        await until(pilot, "prompt  Pro")
        assert pane.row_place == place

    drive(app, steps)


def test_given_a_view_when_exported_then_it_is_what_the_command_line_prints(project_directory: Path) -> None:
    from tasks.baseline_board import board
    from tests.workbench.render.golden import printed
    from workbench.tui.render.baseline_board import board_view

    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        pane = await at_prompt(pilot)
        text = printed(pane.exported(100), 100)
        with Project.open(project_directory, write=False) as project:
            assert printed(board_view(board(project), 100), 100) in text
        assert f"{BEHAVIOUR}/0" in text

    drive(app, steps)
