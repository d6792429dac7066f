"""The features pane on a real project: what is found, what the card says, what keys do, what is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from store import labels
from store.features import find
from store.project import Project
from tests.workbench.tui.app_project import GRAPH, PROMPT, SET
from tests.workbench.tui.features_steps import back, begun, features_pane, heard, kept_feature, opened, run, typed
from tests.workbench.tui.screen_text import screen_text, until
from workbench.tui.app import Workbench
from workbench.tui.messages import Asked, EditsSent, Looked, Went
from workbench.tui.panes.features.pane import Features
from workbench.tui.place import Place

Rows = Callable[[str], Any]


def test_given_an_index_when_opened_then_the_list_and_the_first_card_are_there(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        text = screen_text(pilot.app)
        assert "192 features, by layer" in text
        assert f"{SET} L0/0" in text
        assert "strongest examples, activation on each token" in text or "silent" in text

    run(project_directory, steps)


def test_given_words_and_filters_when_typed_then_only_what_matches_is_listed(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await typed(pilot, "layer:1 density:>0", "features, by layer")
        await pilot.pause(0.3)
        names = [line.split()[0] for line in screen_text(pilot.app).splitlines() if line[2:5].strip().startswith("L")]
        names = [name for name in names if name.startswith("L")]
        assert names
        assert all(name.startswith("L1/") for name in names)
        await typed(pilot, "colour:red", "✗ there is no filter colour:")
        await typed(pilot, "nosuchwordanywhere", "no feature is like that")
        await pilot.press("escape")
        assert features_pane(pilot.app).entries.has_focus  # type: ignore[arg-type]
        await pilot.press("escape")
        await until(pilot, "192 features")

    run(project_directory, steps)


def test_given_the_list_when_the_cursor_rests_then_the_card_follows_and_the_other_panes_are_told(
    project_directory: Path,
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("down", "down", "down")
        await until(pilot, f"{SET} L0/3")

    app = run(project_directory, steps)
    assert app.last(Looked).place == Place("features", dictionary=SET, feature="L0/3")


def test_given_orders_when_cycled_then_rows_are_sorted_by_each(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        for words in ("most frequent first", "rarest first", "strongest first", "by label", "by layer"):
            await pilot.press("s")
            await until(pilot, f"192 features, {words}")
            pane = features_pane(pilot.app)  # type: ignore[arg-type]
            rows = [row for index in range(100) if (row := pane.entries.lines.row(index))]  # type: ignore[attr-defined]
            active = [row for row in rows if row.density > 0]
            if words == "most frequent first":
                assert [row.density for row in rows] == sorted((row.density for row in rows), reverse=True)
            if words == "rarest first":
                assert [row.density for row in active] == sorted(row.density for row in active)
            if words == "strongest first":
                assert [row.maximum for row in rows] == sorted((row.maximum for row in rows), reverse=True)

    run(project_directory, steps)


def test_given_a_label_when_written_then_row_card_store_and_search_say_it(
    project_directory: Path, in_project: Rows
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("e")
        await until(pilot, "What does")
        await pilot.press(*"capital", "enter")
        await until(pilot, "capital  (person, ")
        assert screen_text(pilot.app).count("capital") >= 2
        await pilot.press("e")
        await until(pilot, "What does")
        pilot.app.screen.query_one("Input").value = "x" * 201  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, "a label of 201 characters")
        await pilot.press("escape")
        await typed(pilot, "label:capital", "1 features")

    run(project_directory, steps)
    assert in_project("SELECT label, source FROM label_change") == [("capital", "person")]


def test_given_a_star_when_pressed_then_it_is_kept_and_found_and_taken_away(
    project_directory: Path, in_project: Rows
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("asterisk")
        await until(pilot, f"★ {SET} L0/0")
        assert in_project("SELECT feature FROM star") == [(0,)]
        await typed(pilot, "star:", "1 features")
        await pilot.press("enter", "asterisk")
        await until(pilot, f"│ {SET} L0/0")

    run(project_directory, steps)
    assert in_project("SELECT count(*) FROM star") == [(0,)]


def test_given_a_kept_feature_when_sent_then_console_and_graph_get_its_node(project_directory: Path) -> None:
    name, _ = kept_feature(project_directory)

    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await features_pane(pilot.app).show_feature(SET, name)  # type: ignore[arg-type]
        await until(pilot, f"{SET} {name}")
        await pilot.press("a")
        await heard(pilot, EditsSent)
        await back(pilot)
        await pilot.press("plus")
        await heard(pilot, EditsSent, 2)
        await back(pilot)
        went = sum(isinstance(each, Went) for each in pilot.app.heard)  # type: ignore[attr-defined]
        await pilot.press("g")
        await heard(pilot, Went, went + 1)

    app = run(project_directory, steps)
    ablated, steered = [each for each in app.heard if isinstance(each, EditsSent)]
    nodes = [f"{name}@{at}" for at in range(20)]
    assert ablated.edits[0] in [f"ablate {node}" for node in nodes]
    assert steered.edits[0] in [f"steer {node}=+1max" for node in nodes]
    assert (ablated.prompt, ablated.graph, ablated.dictionary) == (PROMPT, GRAPH, SET)
    place = app.last(Went).place
    assert (place.pane, place.graph) == ("graph", GRAPH)
    assert place.node in nodes


def test_given_another_pane_that_looks_at_a_node_then_its_card_is_shown_and_the_search_stays(
    project_directory: Path,
) -> None:
    name, position = kept_feature(project_directory)

    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await typed(pilot, "layer:2", "64 features")
        await pilot.press("escape", "3")
        await pilot.pause()
        pilot.app.post_message(Looked(Place("graph", graph=GRAPH, node=f"{name}@{position}")))
        await pilot.pause(0.3)
        pane = features_pane(pilot.app)  # type: ignore[arg-type]
        assert pane.card is not None
        assert pane.card["feature"] == name
        assert pane.query_text == "layer:2"

    run(project_directory, steps)


@pytest.mark.parametrize("opened_before", [True, False])
def test_given_another_pane_that_goes_to_a_feature_when_shown_then_the_list_is_at_its_line(
    project_directory: Path, opened_before: bool
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        if opened_before:
            await opened(pilot)
            await pilot.press("1")
        pilot.app.post_message(Went(Place("features", dictionary=SET, feature="L2/60")))
        await until(pilot, f"{SET} L2/60")
        await until(pilot, "▌  L2/60")

    run(project_directory, steps)


def test_given_a_token_of_a_graph_when_chosen_then_what_is_active_there_is_listed_by_activation(
    project_directory: Path,
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("t")
        await until(pilot, "Active on which token of graph 1?")
        await pilot.press("enter")
        await until(pilot, "by activation in the graph")
        pane = features_pane(pilot.app)  # type: ignore[arg-type]
        assert pane.query_text.startswith(f"in:{GRAPH}@")
        values = [pane.entries.lines.activity[row_id].activation for row_id in pane.entries.lines.ids]  # type: ignore[attr-defined]
        assert values == sorted(values, reverse=True)
        await typed(pilot, f"in:{GRAPH}@99", "✗ graph 1 has no position 99")
        await typed(pilot, "in:2", "✗ graph 2 is of neurons")

    run(project_directory, steps)


def test_given_one_graph_of_a_set_when_a_contrast_is_asked_then_a_line_says_what_is_missing(
    project_directory: Path,
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("c")
        await until(pilot, "a contrast needs two graphs")

    run(project_directory, steps)


def test_given_neighbours_when_one_is_chosen_then_its_card_comes_up(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("n")
        await until(pilot, "Like L0/0")
        await pilot.press("enter")
        place = (await heard(pilot, Went)).place
        assert place.feature != "L0/0"
        await until(pilot, f"{SET} {place.feature}")

    run(project_directory, steps)


def test_given_a_narrow_terminal_when_space_is_pressed_then_the_card_takes_the_room_of_the_list(
    project_directory: Path,
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        assert "promoted and suppressed" not in await until(pilot, "L0/5")
        await pilot.press("space")
        assert "L0/5 " not in await until(pilot, "active on")
        await pilot.press("escape")
        await until(pilot, "L0/5")

    run(project_directory, steps, size=(80, 24))


def test_given_a_search_when_the_app_is_left_and_opened_again_then_query_order_and_feature_are_back(
    project_directory: Path,
) -> None:
    async def first(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await typed(pilot, "layer:1", "64 features")
        await pilot.press("enter", "s", "s", "down", "down")
        await until(pilot, "64 features, most frequent first")
        await pilot.pause(1.0)
        pane = features_pane(pilot.app)  # type: ignore[arg-type]
        assert pane.card is not None
        shown.append(pane.card["feature"])

    async def second(pilot: Pilot[int]) -> None:
        await until(pilot, "64 features, most frequent first")
        await until(pilot, f"{SET} {shown[0]}")

    shown: list[str] = []
    run(project_directory, first)
    run(project_directory, second)


def test_given_another_process_that_labels_then_the_list_says_it(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        with Project.open(project_directory, write=True, work=False) as project, project.transaction():
            labels.set_label(project.db, find(project.db, "L0/2").id, "told by the other")
        await until(pilot, "told by the other")

    run(project_directory, steps)


def test_given_no_index_when_opened_then_the_list_says_what_makes_one(empty_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        await until(pilot, "There is no dictionary set")
        for key in ("e", "asterisk", "n", "g", "a", "plus", "c", "t", "i", "space", "s", "escape"):
            await pilot.press(key)
            await pilot.pause()
        assert pilot.app.is_running

    run(empty_directory, steps)


@pytest.mark.parametrize(("keys", "name"), [(["i", "enter"], SET), (["i", "down", "enter"], "neurons")])
def test_given_a_set_without_an_index_when_i_is_pressed_then_the_worker_is_asked_for_it_or_for_the_neurons(
    project_directory: Path, keys: list[str], name: str
) -> None:
    with Project.open(project_directory, write=True, work=False) as project, project.transaction():
        project.db.execute("DELETE FROM feature")

    async def steps(pilot: Pilot[int]) -> None:
        await begun(pilot)
        await until(pilot, "No feature is described yet")
        await pilot.press(keys[0])
        await until(pilot, "Index which set?")
        await pilot.press(*keys[1:])
        await heard(pilot, Asked)

    app = run(project_directory, steps)
    asked = app.last(Asked)
    assert (asked.kind, asked.params) == ("index", {"dictionary": name})


def test_given_a_follower_when_it_labels_or_stars_then_nothing_is_written(
    project_directory: Path, in_project: Rows
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("asterisk", "e")
        await pilot.pause(0.3)
        assert pilot.app.screen is pilot.app.screen_stack[0]

    run(project_directory, steps, follow=True)
    assert in_project("SELECT count(*) FROM star") == [(0,)]


def test_given_a_feature_when_kept_copied_and_exported_then_all_say_it_with_units(
    project_directory: Path, in_project: Rows
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("exclamation_mark")
        await until(pilot, "kept: ")
        pane = features_pane(pilot.app)  # type: ignore[arg-type]
        assert pane.copied() == "L0/0"
        await pilot.press("X")
        await until(pilot, "Save this view")
        pilot.app.screen.query_one("Input").value = str(project_directory / "view.txt")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, "saved to")

    run(project_directory, steps)
    [(text,)] = in_project("SELECT text FROM finding")
    assert text.startswith(f"{SET} L0/0 is active on ")
    assert " of tokens, maximum " in text
    saved = (project_directory / "view.txt").read_text()
    assert "L0/5" in saved
    assert "promoted and suppressed tokens" in saved or "silent" in saved


def test_every_action_of_the_table_can_be_run_from_the_palette(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        app = pilot.app
        assert isinstance(app, Workbench)
        for action in Features.ACTIONS:
            await app._run_from_palette("features", action.name)
            await pilot.pause(0.2)
            while len(app.screen_stack) > 1:
                await pilot.press("escape")
        assert app.is_running

    run(project_directory, steps)
