"""The baselines pane: what is asked of the worker, and where its answers lead."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from tasks.behaviours import load_behaviours
from tests.workbench.tui.app_project import BEHAVIOUR, CORRUPT, GRAPH, PROMPT, SET
from tests.workbench.tui.baselines_steps import (
    LISTED,
    Steps,
    app_on,
    at_prompt,
    insert_fixed,
    pane_of,
    queued,
    worked_off,
)
from tests.workbench.tui.screen_text import drive, screen_text, until
from workbench.tui.panes.baselines.prompt_form import PromptForm
from workbench.tui.render.tokens import show_token
from workbench.tui.widgets.inert_input import InertInput

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
        assert "… " in next(line for line in screen_text(app).splitlines() if LISTED in line)
        (ended,) = await worked_off(pilot, project_directory)
        assert (ended.state, pane._marked) == ("succeeded", frozenset())

    drive(app, steps)


def test_given_jobs_that_wait_when_the_app_is_opened_again_then_their_lines_are_marked_until_they_end(
    project_directory: Path,
) -> None:
    async def ask(pilot: Steps) -> None:
        await at_prompt(pilot)
        await pilot.press("r")
        await until(pilot, "running words")
        await pilot.press("n", *"w7 w8 w9", "enter")
        await until(pilot, "prompt  Pro")

    app = app_on(project_directory)

    async def find_again(pilot: Steps) -> None:
        await until(pilot, "w7 w8 w9")
        pane = pane_of(app)
        assert {name for name, _ in pane._marked} == {BEHAVIOUR, "prompt"}
        await worked_off(pilot, project_directory)
        assert pane._marked == frozenset()

    drive(app_on(project_directory), ask)
    drive(app, find_again)


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
