"""The baselines pane: what is listed, what keys do, what is asked of the worker, and where its answers lead."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from store import jobs
from store.project import Project
from tasks.baseline import AD_HOC
from tasks.behaviours import load_behaviours
from tasks.context import Context
from tasks.execute import run_claimed
from tests.workbench.tui.app_project import BEHAVIOUR, CORRUPT, GRAPH, NEURON_GRAPH, PROMPT, SET
from tests.workbench.tui.screen_text import assert_golden_screen, drive, screen_text, until
from workbench.tui.app import Workbench
from workbench.tui.panes.baselines.pane import Baselines
from workbench.tui.panes.baselines.prompt_form import PromptForm
from workbench.tui.place import Place
from workbench.tui.render.tokens import show_token
from workbench.tui.screens.choice import Choice
from workbench.tui.widgets.inert_input import InertInput
from workbench.tui.widgets.line_list import LineList

Steps = Pilot[int]
SIZES = [(80, 24), (160, 48)]
LISTED = f"{BEHAVIOUR}  Wo"
"""On the screen when the board has been read."""


def app_on(directory: Path, **options: bool) -> Workbench:
    return Workbench(directory, starts_worker=False, **options)


def pane_of(app: Workbench) -> Baselines:
    return app.default_screen.query_one(Baselines)


async def at_prompt(pilot: Steps, prompt: str = PROMPT) -> Baselines:
    """The pane with the cursor on a prompt, its card read."""
    await until(pilot, LISTED)
    pane = pane_of(pilot.app)  # type: ignore[arg-type]
    pane.show_prompt(prompt, BEHAVIOUR)
    await until(pilot, f"{BEHAVIOUR}/")
    await pilot.pause(0.3)
    return pane


def queued(directory: Path) -> list[jobs.Job]:
    with Project.open(directory, write=False) as project:
        return jobs.queue(project.db)


def work_off(directory: Path) -> list[jobs.Job]:
    """Run what is queued as the worker does; the jobs as they ended."""
    with Project.open(directory, write=True) as project:
        context, ended = Context(project), []
        while (job_id := jobs.claim(project.db, os.getpid())) is not None:
            try:
                run_claimed(job_id, context, lambda: "cancelled")
            except Exception:
                assert jobs.show(project.db, job_id).state == "failed"
            ended.append(job_id)
        return [jobs.show(project.db, job_id) for job_id in ended]


async def worked_off(pilot: Steps, directory: Path) -> list[jobs.Job]:
    """Run what is queued, and tell the pane as the app does."""
    ended = work_off(directory)
    for job in ended:
        await pane_of(pilot.app).job_ended(job.id, job.kind, job.state)  # type: ignore[arg-type]
    await pilot.pause(0.3)
    return ended


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
        assert_golden_screen("baselines_empty", app)

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
        assert_golden_screen("baselines_full", app)

    drive(app, steps, size=size)


def insert_fixed(directory: Path) -> None:
    """A pair of a behaviour and a prompt of one's own, hostile, with numbers of no model."""
    pair = load_behaviours()["capitals"].pairs[0]
    hostile = "\x1b]0;t\x07[/INST] \u202e日本"
    texts = [("capitals", pair.clean, pair.corrupt, pair.decisive, pair.rival, pair.concept),
             (AD_HOC, f"a {hostile}", None, None, None, None)]  # fmt: skip
    with Project.open(directory, write=True, work=False) as project, project.transaction():
        job = "INSERT INTO job (kind, params, params_hash, state, created_at) VALUES ('baseline', '{}', 'h', ?, ?)"
        project.db.execute(job, ["succeeded", "2026-01-01T00:00:00.000+00:00"])
        for number, (behaviour, *content) in enumerate(texts, 1):
            sql = """INSERT INTO prompt (id, behaviour, name, clean, corrupt, decisive, rival, concept)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
            project.db.execute(sql, [number, behaviour, f"{behaviour}/0", *content])
        for prompt, variant, *scores in (
            (1, "clean", 0.7734375, 0, 7.3125, 1), (1, "corrupt", 0.015625, 11, -6.0, 1), (2, "clean", *[None] * 4)
        ):  # fmt: skip
            top = [[f" t{i}" if i else (hostile if prompt == 2 else " Paris"), 2.0 ** -(i + 1)] for i in range(10)]
            sql = """INSERT INTO baseline (job_id, prompt_id, variant, p_decisive, rank_decisive, logit_difference,
                passed, tokens, top, continuation, seed) VALUES (1, ?, ?, ?, ?, ?, ?, '[1, 2, 3]', ?, ?, 0)"""
            row = project.db.execute(sql, [prompt, variant, *scores, json.dumps(top), f" on {hostile}"]).lastrowid
            bits = [["The", None], [" capital", 9.25], [hostile, 2.5]]
            project.db.execute("INSERT INTO surprise VALUES (?, ?)", [row, json.dumps(bits)])


# What is asked.


def test_given_a_behaviour_of_a_directory_when_run_then_its_job_names_both_and_its_lines_are_marked(
    project_directory: Path,
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        pane = await at_prompt(pilot)
        await pilot.press("r")
        await until(pilot, "running words, 2 pairs")
        (job,) = queued(project_directory)
        assert job.params["behaviours"] == [BEHAVIOUR]
        assert Path(job.params["directory"]).name == "behaviours"
        assert pane._marked == {(BEHAVIOUR, "")}
        assert "… " in next(line for line in screen_text(app).splitlines() if "Words after" in line)
        (ended,) = await worked_off(pilot, project_directory)
        assert (ended.state, pane._marked) == ("succeeded", frozenset())

    drive(app, steps)


def test_given_every_behaviour_when_run_then_there_is_a_job_for_each_directory(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, LISTED)
        await pilot.press("R")
        await until(pilot, "running words")
        asked = {tuple(job.params["behaviours"]) for job in queued(project_directory)}
        assert asked == {(BEHAVIOUR,), tuple(load_behaviours())}

    drive(app, steps)


def test_given_a_prompt_typed_on_the_spot_when_run_then_it_waits_in_the_list_and_its_card_comes_up(
    project_directory: Path, in_project: Callable[[str], Any]
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, LISTED)
        await pilot.press("n", *"w7 w8 w9", "enter")
        await until(pilot, "prompt  Pro")
        assert "…" in next(line for line in screen_text(app).splitlines() if "w7 w8 w9" in line and "job" not in line)
        await worked_off(pilot, project_directory)
        text = await until(pilot, "nothing was asked")
        (stored,) = in_project("SELECT top FROM baseline JOIN prompt ON prompt.id = prompt_id WHERE decisive IS NULL")
        assert f"→{show_token(json.loads(stored[0])[0][0])}" in text
        await pilot.press("r")
        await until(pilot, "running “w7 w8 w9”")
        assert [job.params["prompt"] for job in queued(project_directory)] == ["w7 w8 w9"]

    drive(app, steps, size=(160, 48))


def test_given_a_form_when_filled_wrongly_then_it_says_so_and_when_left_it_keeps_what_was_typed(
    project_directory: Path,
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, LISTED)
        await pilot.press("n", "enter")
        await until(pilot, "there is no prompt")
        form = app.screen
        assert isinstance(form, PromptForm)
        form.query_one("#form-prompt", InertInput).post_message(events.Paste("w1 \x1b[31mw2\nw3"))
        await pilot.press("tab", "tab", "tab", *"w5", "enter")
        await until(pilot, "a rival is compared with a decisive token")
        await pilot.press("up", "up", *"w4", "down", *"w1 w9", "enter")
        await pilot.pause(0.3)
        app.save_state()
        assert app.saved.panes["baselines"]["typed"] == {} or not isinstance(app.screen, PromptForm)
        await pilot.press("n")
        await until(pilot, "Run a prompt")
        await pilot.press(*"half", "escape")
        assert pane_of(app).state()["typed"]["prompt"] == "half"
        await pilot.press("n")
        await until(pilot, "half")
        await pilot.press("escape")

    drive(app, steps)
    (job,) = queued(project_directory)
    asked = {name: job.params[name] for name in ("prompt", "decisive", "corrupt", "rival")}
    assert asked == {"prompt": "w1 [31mw2\nw3", "decisive": "w4", "corrupt": "w1 w9", "rival": "w5"}


def test_given_a_prompt_with_graphs_when_enter_is_pressed_then_they_are_offered_and_one_comes_up(
    project_directory: Path,
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await at_prompt(pilot)
        await pilot.press("enter")
        text = await until(pilot, "trace with neurons")
        assert f"open graph {GRAPH}" in text and f"trace with {SET}" in text
        await pilot.press("down", "enter")
        await pilot.pause(0.5)
        assert (app.pane.id, app.history.here.graph, app.history.here.prompt) == ("graph", GRAPH, PROMPT)

    drive(app, steps)


@pytest.mark.parametrize(("key", "prompt"), [("t", PROMPT), ("T", CORRUPT)])
def test_given_a_prompt_when_traced_then_its_tokens_are_asked_for_and_the_graph_comes_up(
    project_directory: Path, key: str, prompt: str
) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        pane = await at_prompt(pilot)
        await pilot.press(key)
        await until(pilot, f"trace with {SET}")
        await pilot.press("end", "enter")
        await until(pilot, "tracing")
        (job,) = queued(project_directory)
        pair = pane.row.pair.pair  # type: ignore[union-attr]
        asked = [job.params[name] for name in ("prompt", "dictionary", "target", "versus")]
        assert asked == [prompt, SET, pair.decisive, pair.rival]
        assert pane.state()["dictionary"] == SET
        (ended,) = await worked_off(pilot, project_directory)
        assert ended.result is not None
        assert (app.pane.id, app.history.here.graph) == ("graph", ended.result["graph"])

    drive(app, steps)


def test_given_a_trace_when_it_ends_elsewhere_then_the_person_is_told_and_not_moved(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await at_prompt(pilot)
        await pilot.press("t", "end", "enter")
        await until(pilot, "tracing")
        await pilot.press("home")
        await worked_off(pilot, project_directory)
        assert app.pane.id == "baselines"
        await until(pilot, "is traced")

    drive(app, steps)


def test_given_lines_without_a_prompt_or_twin_when_traced_then_the_person_is_told_what_is_missing(
    empty_directory: Path,
) -> None:
    insert_fixed(empty_directory)
    app = app_on(empty_directory)

    async def steps(pilot: Steps) -> None:
        await until(pilot, "prompt  Pro")
        await pilot.press("home", "t")
        await until(pilot, "put the cursor on a prompt")
        await pilot.press("down", "T")
        await until(pilot, "no corrupt twin")

    drive(app, steps)


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


def insert_fixed_again(directory: Path) -> None:
    """A prompt of one's own, as another process leaves it."""
    with Project.open(directory, write=True, work=False) as project, project.transaction():
        sql = "INSERT INTO prompt (id, behaviour, name, clean) VALUES (99, ?, ?, 'from elsewhere')"
        project.db.execute(sql, [AD_HOC, f"{AD_HOC}/0"])
        project.db.execute(
            """INSERT INTO baseline (job_id, prompt_id, variant, tokens, top, continuation, seed)
            VALUES (1, 99, 'clean', '[1]', '[[" a", 0.5]]', '', 0)"""
        )


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
