"""The intervention console on a real project: edits typed, measured, toggled, stored, found again."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from store.project import Project
from tests.workbench.tui import app_project
from tests.workbench.tui.console import console, run, typed, worked_off
from tests.workbench.tui.screen_text import screen_text, until
from workbench.tui.messages import EditsSent, Went
from workbench.tui.panes.interventions.pane import Interventions
from workbench.tui.place import Place
from workbench.tui.widgets.edit_line import EditLine

Rows = Callable[[str], Any]


async def gone(pilot: Pilot[int], words: str) -> None:
    """Wait until words are no longer on the screen."""
    for _ in range(200):
        if words not in screen_text(pilot.app):
            return
        await pilot.pause(0.05)
    raise AssertionError(f"{words!r} is still there")


async def on_graph(pilot: Pilot[int], graph: int = app_project.GRAPH) -> None:
    """Stand on a graph of the project."""
    pilot.app.post_message(Went(Place(pane="interventions", graph=graph)))
    await until(pilot, f"of graph {graph}")


async def edit(pilot: Pilot[int], text: str) -> None:
    """Write an edit and wait for its line."""
    await pilot.press("a")
    await typed(pilot, text)
    await pilot.press("enter")
    await until(pilot, f"[x] {text}")


def strongest(directory: Path, count: int = 1) -> list[tuple[str, float]]:
    """The features of the graph with the largest predicted effects, each with it."""
    with Project.open(directory, write=False) as project:
        rows = project.db.execute(
            "SELECT layer, feature, position, predicted_effect FROM node WHERE graph_id = ? AND kind = 'feature'"
            " ORDER BY abs(predicted_effect) DESC LIMIT ?",
            [app_project.GRAPH, count],
        ).fetchall()
    return [(f"L{layer}/{feature}@{position}", effect) for layer, feature, position, effect in rows]


def signed(value: float) -> str:
    """As it stands on the screen."""
    return f"{'−' if value < 0 else '+'}{abs(value):.3f}"


def against_mean(found: dict[str, Any]) -> float:
    """What the graph explains, which was traced without a rival: how much it changed."""
    after, before = (found[side]["logit"] - found[side]["mean_logit"] for side in ("outcome", "baseline"))
    return float(after - before)


def test_given_two_edits_when_run_then_each_alone_and_both_together_stand_beside_what_the_graph_predicts(
    project_directory: Path, in_project: Rows
) -> None:
    (one, effect_one), (other, effect_other) = strongest(project_directory, 2)

    async def steps(pilot: Pilot[int]) -> None:
        await on_graph(pilot)
        await edit(pilot, f"ablate {one}")
        await edit(pilot, f"scale {other}=3")
        text = await until(pilot, "all 2 together")
        assert signed(-effect_one) in text and signed(2 * effect_other) in text
        assert signed(2 * effect_other - effect_one) in text
        await pilot.press("r")
        await until(pilot, "queued")
        assert await worked_off(pilot, project_directory, 3) == 3
        await until(pilot, "KL(before‖after)")
        await pilot.pause(1.0)
        documents = [document for document in map(console(pilot).view.document_at, range(3)) if document]
        assert [d["edits"] for d in documents] == [
            [f"ablate {one}"], [f"scale {other}=3"], [f"ablate {one}", f"scale {other}=3"]
        ]  # fmt: skip
        text = screen_text(pilot.app)
        for found in documents:
            assert signed(against_mean(found)) in text
        assert signed(against_mean(documents[0]) + effect_one) in text  # the gap

    run(project_directory, steps)
    assert in_project("SELECT count(*) FROM intervention") == [(4,)]


def test_given_measured_edits_when_one_is_toggled_then_only_what_is_new_is_asked_for(project_directory: Path) -> None:
    (one, _), (other, _) = strongest(project_directory, 2)

    async def steps(pilot: Pilot[int]) -> None:
        await on_graph(pilot)
        await edit(pilot, f"ablate {one}")
        await edit(pilot, f"ablate {other}")
        await pilot.press("r")
        assert await worked_off(pilot, project_directory, 3) == 3
        await until(pilot, "KL(before‖after)")
        await pilot.press("space")
        await until(pilot, f"[ ] ablate {other}")
        await until(pilot, "all 1 together")
        await pilot.press("r")
        await pilot.pause(0.5)
        assert await worked_off(pilot, project_directory, 0) == 0
        await pilot.press("ctrl+z")
        await until(pilot, "all 2 together")

    run(project_directory, steps)


def test_given_a_measured_board_when_the_app_is_left_and_opened_then_all_is_found_again(
    project_directory: Path, in_project: Rows
) -> None:
    ((one, _),) = strongest(project_directory)
    seen: list[str] = []

    async def first(pilot: Pilot[int]) -> None:
        await on_graph(pilot)
        await edit(pilot, f"ablate {one}")
        await pilot.press("r")
        await worked_off(pilot, project_directory)
        seen.append(await until(pilot, "KL(before‖after)"))
        await pilot.press("a")
        await typed(pilot, "scale L0/1")
        await pilot.press("escape")
        await pilot.pause(1.0)

    async def again(pilot: Pilot[int]) -> None:
        text = await until(pilot, "KL(before‖after)")
        assert f"[x] ablate {one}" in text and "scale L0/1" in text
        line = next(line for line in seen[0].splitlines() if f"[x] ablate {one}" in line)
        assert line.split("│")[0].strip("▌ ") in text

    run(project_directory, first)
    run(project_directory, again)
    assert in_project("SELECT count(*) FROM job WHERE kind = 'intervene'") == [(2,)]


def test_given_an_edit_when_its_doses_are_asked_for_then_the_curve_stands_in_the_card(project_directory: Path) -> None:
    ((one, _),) = strongest(project_directory)

    async def steps(pilot: Pilot[int]) -> None:
        await on_graph(pilot)
        await edit(pilot, f"ablate {one}")
        await pilot.press("w")
        await until(pilot, "0 is no edit")
        await pilot.press("ctrl+u")
        await typed(pilot, "0..2/5")
        await pilot.press("enter")
        await until(pilot, "doses 0..2/5")
        await pilot.press("d")
        await worked_off(pilot, project_directory)
        text = await until(pilot, "over the dose")
        assert "● measured  ○ predicted" in text

    run(project_directory, steps, (160, 60))


def test_given_tab_when_pressed_then_the_offer_is_taken_and_unknown_names_are_said(project_directory: Path) -> None:
    ((one, _),) = strongest(project_directory)

    async def steps(pilot: Pilot[int]) -> None:
        await on_graph(pilot)
        await pilot.press("a")
        await typed(pilot, "st")
        await until(pilot, "twice its largest activation")
        await pilot.press("tab")
        line = pilot.app.screen.query_one(EditLine)
        assert line.text == "steer "
        await until(pilot, f"steer {one}")
        await pilot.press("tab")
        assert line.text == f"steer {one}=+"
        for words, fault in (("ablate L0/x", "not a feature"), ("ablate L9/1", "layer 9 is not in toy"),
                             ("ablate L0/64", "the last one is L0/63"), ("ablate L0/1@7", "it has 7 tokens"),
                             ("flip L0/1", "a line begins with"), ("ablate texas", "no supernode texas")):  # fmt: skip
            line.text = words
            await until(pilot, fault)
            await pilot.press("enter")
            await pilot.pause(0.1)
            assert not console(pilot).board.entries

    run(project_directory, steps)


def test_given_edits_of_another_pane_when_sent_then_they_stand_on_the_board_with_their_graph(
    project_directory: Path,
) -> None:
    (one, _), (other, _) = strongest(project_directory, 2)

    async def steps(pilot: Pilot[int]) -> None:
        for name in (one, other, one):
            sent = EditsSent((f"ablate {name}",), app_project.PROMPT, app_project.GRAPH, app_project.SET)
            pilot.app.post_message(sent)
            await until(pilot, f"[x] ablate {name}")
        assert len(console(pilot).board.entries) == 2
        pilot.app.post_message(EditsSent(("ablate L0/1",), app_project.PROMPT, app_project.NEURON_GRAPH, "neurons"))
        await until(pilot, "neurons of graph 2")
        assert len(console(pilot).board.entries) == 1
        pilot.app.post_message(EditsSent(("ablate L0/99",), app_project.PROMPT, app_project.GRAPH, app_project.SET))
        await until(pilot, "L0/99 does not exist")
        assert console(pilot).board.options.graph == app_project.NEURON_GRAPH

    run(project_directory, steps)


def test_given_the_stored_intervention_when_chosen_then_its_board_and_numbers_come_up_and_it_can_be_made_again(
    project_directory: Path, in_project: Rows
) -> None:
    ((one, _),) = strongest(project_directory)

    async def steps(pilot: Pilot[int]) -> None:
        await pilot.press("h")
        await until(pilot, "intervention 1, job")
        await pilot.press("enter")
        text = await until(pilot, f"[x] ablate {one}")
        assert "doses -1..2/7" in text
        await until(pilot, "over the dose")
        await pilot.press("R")
        await worked_off(pilot, project_directory)
        await until(pilot, "as before")
        await pilot.press("exclamation_mark")
        await until(pilot, "kept: ablate")

    run(project_directory, steps, (160, 60))
    assert in_project("SELECT count(*) FROM intervention") == [(2,)]
    ((text, provenance),) = in_project("SELECT text, provenance FROM finding")
    assert re.search(rf"ablate {one}: logit difference w\d+ − mean of all [+−]\d\.\d+ nats \(predicted", text)
    for known in ('"intervention": ', '"job": ', '"measured": ', '"predicted": ', '"pane": "interventions"'):
        assert known in provenance


def test_given_a_place_with_an_intervention_when_gone_to_then_it_is_shown_once(project_directory: Path) -> None:
    ((one, _),) = strongest(project_directory)

    async def steps(pilot: Pilot[int]) -> None:
        pilot.app.post_message(Went(Place(pane="interventions", intervention=1)))
        await until(pilot, f"[x] ablate {one}")
        await edit(pilot, "ablate L0/1")
        await pilot.press("1", "4")
        await until(pilot, "[x] ablate L0/1")
        pilot.app.post_message(Went(Place(pane="interventions", intervention=1)))
        await until(pilot, "over the dose")
        assert "ablate L0/1 " not in screen_text(pilot.app)
        pilot.app.post_message(Went(Place(pane="interventions", intervention=77)))
        await until(pilot, "no intervention 77")

    run(project_directory, steps, (160, 60))


def test_given_bad_input_when_run_then_one_line_says_so_and_nothing_is_sent(
    project_directory: Path, in_project: Rows
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await pilot.press("n", "r")
        await until(pilot, "no edit is on")
        await edit(pilot, "ablate L0/1")
        with Project.open(project_directory, write=True) as project, project.transaction():
            project.db.execute("UPDATE dictionary SET file_id = (SELECT min(id) FROM file) WHERE layer = 1")
        await on_graph_by_key(pilot)
        await pilot.press("r")
        await until(pilot, "traced")
        await pilot.press("p")
        await until(pilot, "The prompt")
        pilot.app.screen.query_one("Input").post_message(_paste("w1 " * 50_000))
        await until(pilot, "takes 10000 characters")
        await pilot.press("escape")

    async def on_graph_by_key(pilot: Pilot[int]) -> None:
        await pilot.press("G")
        await until(pilot, "Which graph?")
        await pilot.press("end", "enter")
        await gone(pilot, "Which graph?")

    run(project_directory, steps)
    assert in_project("SELECT count(*) FROM job WHERE kind = 'intervene'") == [(1,)]


def _paste(text: str) -> Any:
    from textual.events import Paste

    return Paste(text)


@pytest.mark.parametrize("text", ["ablate L0/1\x1b[2J", "ablate \u202eL0/1", "ablate L0/1\nscale L0/2=3"])
def test_given_a_paste_with_control_characters_when_entered_then_no_raw_one_is_on_the_screen(
    project_directory: Path, text: str
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await on_graph(pilot)
        await pilot.press("a")
        pilot.app.screen.focused.post_message(_paste(text))  # type: ignore[union-attr]
        await pilot.pause(0.3)
        shown = screen_text(pilot.app)
        assert "\x1b" not in shown and "\u202e" not in shown
        await pilot.press("enter")
        await pilot.pause(0.3)

    run(project_directory, steps)


def test_given_a_follower_when_it_runs_the_board_then_nothing_is_queued(
    project_directory: Path, in_project: Rows
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await on_graph(pilot)
        await edit(pilot, "ablate L0/1")
        await pilot.press("r", "d", "R")
        await pilot.pause(0.5)

    run(project_directory, steps, follow=True)
    assert in_project("SELECT count(*) FROM job WHERE state = 'queued'") == [(0,)]


@pytest.mark.parametrize("fixture", ["empty_directory", "project_directory"])
def test_given_any_key_of_the_console_when_pressed_then_the_app_goes_on(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        for action in Interventions.ACTIONS:
            if fixture == "project_directory" and action.name != "redo":
                await console(pilot).show_stored(1)
            await pilot.press("4")
            for key in action.keys.split(","):
                await pilot.press(key)
                await pilot.pause(0.15)
                await pilot.press("escape")
            await pilot.pause(0.05)
            assert len(pilot.app.screen_stack) == 1, action.name
        assert pilot.app.is_running

    run(request.getfixturevalue(fixture), steps, (160, 60))
