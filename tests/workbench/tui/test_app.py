"""The app's frame: panes, the way back, help, palette, jobs, findings, state, and what a follower may not."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from textual.widgets import Input

from store import findings
from store.errors import Cancelled
from store.project import Project
from tests.workbench.tui.app_project import GRAPH
from tests.workbench.tui.app_steps import Steps, app_on, opened
from tests.workbench.tui.screen_text import drive, screen_text, until
from workbench.tui.actions import EVERYWHERE, Action
from workbench.tui.app import Workbench
from workbench.tui.jobs_drawer import JobsDrawer
from workbench.tui.messages import Kept, Looked, Told, Went
from workbench.tui.pane_types import PANES, pane_type
from workbench.tui.place import History, Place
from workbench.tui.screens.ledger import Ledger
from workbench.tui.screens.question import Question
from workbench.tui.store_thread import StoreThread
from workbench.tui.view_export import save_view

PANE_TYPES = [pane_type(name) for name in PANES]


def test_given_a_project_when_number_keys_are_pressed_then_the_panes_come_up(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        for key, name in zip(("f3", "f4", "f5", "f2"), (*PANES[1:], PANES[0]), strict=True):
            await pilot.press(key)
            await pilot.pause()
            assert app.pane.id == name

    drive(app, steps)


def test_given_a_click_on_a_title_when_it_lands_then_that_pane_comes_up(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.click("Masthead", offset=(screen_text(app).splitlines()[0].index("3 Graph"), 0))
        await pilot.pause()
        assert app.pane.id == "graph"

    drive(app, steps)


def test_given_visits_when_going_back_and_forward_then_each_is_found_again(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await app.on_went(Went(Place("graph", graph=GRAPH)))
        await app.on_went(Went(Place("features", feature="L1/3")))
        await pilot.press("alt+left")
        await pilot.pause()
        assert (app.pane.id, app.history.here.graph, app.history.here.feature) == ("graph", GRAPH, "")
        await pilot.press("alt+right")
        await pilot.pause()
        assert (app.pane.id, app.history.here.feature) == ("features", "L1/3")

    drive(app, steps)


def test_given_the_link_when_taken_off_then_other_panes_are_not_told(project_directory: Path) -> None:
    app = app_on(project_directory)
    told: list[str] = []

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.press("f3")
        await pilot.pause()
        await pilot.press("f4")
        await pilot.pause()
        features = app.screen.query_one("#features")

        async def follow(place: Place) -> None:
            told.append(place.feature)

        features.follow = follow  # type: ignore[attr-defined]
        await app.on_looked(Looked(Place("graph", feature="L0/1")))
        await pilot.press("ctrl+l")
        await app.on_looked(Looked(Place("graph", feature="L0/2")))
        await pilot.press("ctrl+l")
        await app.on_looked(Looked(Place("graph", feature="L0/3")))
        await app.on_looked(Looked(Place("baselines", feature="L0/4")))  # a pane that is not on the screen
        assert app.history.here.feature == "L0/3"

    drive(app, steps)
    assert told == ["L0/1", "L0/3"]


def every_action() -> list[tuple[object, Action]]:
    owners: list[type] = [Workbench, JobsDrawer, *PANE_TYPES]
    return [(owner, action) for owner in owners for action in owner.ACTIONS]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("owner", "action"), every_action(), ids=lambda value: getattr(value, "name", None))
def test_given_an_action_of_the_table_then_its_owner_does_it(owner: type, action: Action) -> None:
    method = action.name.partition("(")[0]
    assert hasattr(owner, f"action_{method}")
    assert action.words[0].isupper() and not action.words.endswith(".")


@pytest.mark.parametrize("kind", PANE_TYPES, ids=PANES)
def test_given_a_pane_then_none_of_its_keys_is_taken_twice(kind: type) -> None:
    actions = [*Workbench.ACTIONS, *kind.ACTIONS]  # type: ignore[attr-defined]
    keys = [key for action in actions for key in action.keys.split(",")]
    assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize("follow", [False, True], ids=["alone", "following"])
def test_given_every_key_of_the_app_when_pressed_then_it_is_answered_and_the_app_goes_on(
    project_directory: Path, follow: bool
) -> None:
    app = app_on(project_directory, follow=follow)
    done: list[str] = []

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        for action in EVERYWHERE:
            if action.name == "quit":
                continue
            for key in action.keys.split(","):
                await pilot.press(key)
                await pilot.pause(0.1)
                while app.screen is not app.default_screen:
                    await pilot.press("escape")
                    await pilot.pause(0.1)
            done.append(action.name)
        assert app.is_running and app.fault is None

    drive(app, steps)
    assert len(done) == len(EVERYWHERE) - 1


def test_given_something_under_the_cursor_when_copied_then_it_is_in_the_file_that_is_named(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await app.on_went(Went(Place("graph", graph=GRAPH)))
        await pilot.press("down", "y")
        await until(pilot, "copied")

    drive(app, steps)
    kept = Path(os.environ["WORKBENCH_RUNTIME_DIR"]) / "copied.txt"
    assert re.search(r"L\d+/\d+@\d+", kept.read_text())


@pytest.mark.parametrize("name", PANES)
def test_given_a_pane_when_asked_for_keys_then_every_action_of_it_is_listed(project_directory: Path, name: str) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await app.action_pane(name)
        app.action_keys()
        text = await until(pilot, "Keys")
        for action in app.pane.ACTIONS:
            assert action.words in text
        await pilot.press("escape")
        app.action_about()
        await until(pilot, "esc leaves")

    drive(app, steps, size=(160, 200))


def test_given_the_palette_then_it_holds_every_action_of_the_app_and_its_panes(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {action.words for action in app.ACTIONS} <= titles
        for kind in PANE_TYPES:
            assert {f"{kind.TITLE}: {action.words}" for action in kind.ACTIONS} <= titles

    drive(app, steps)


def test_given_the_palette_when_an_action_is_picked_by_name_then_it_is_done(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.press("ctrl+p")
        await pilot.press(*"interventions", "enter")
        await pilot.pause(0.3)
        await pilot.press("enter") if app.screen is not app.default_screen else None
        for _ in range(40):
            if app.pane.id == "interventions":
                return
            await pilot.pause(0.05)
        raise AssertionError(screen_text(app))

    drive(app, steps)


def test_given_a_finding_when_kept_then_the_ledger_has_it_and_enter_goes_there(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await app.on_kept(Kept("ablating [bold]L0/3@4[/] takes 1.2 nats \x1b[31m", {"pane": "graph", "graph": GRAPH}))
        await pilot.press("f7")
        text = await until(pilot, "takes 1.2 nats ␛[31m")
        assert "[bold]L0/3@4[/]" in text and f"graph {GRAPH}" in text
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert not isinstance(app.screen, Ledger)
        assert (app.pane.id, app.history.here.graph) == ("graph", GRAPH)

    drive(app, steps)
    with Project.open(project_directory, write=False) as project:
        assert findings.listing(project.db)[0].provenance == {"pane": "graph", "graph": GRAPH}


def test_given_where_a_person_was_when_the_app_opens_again_then_it_is_there(project_directory: Path) -> None:
    async def leave(pilot: Steps) -> None:
        await opened(pilot)
        await first.on_went(Went(Place("graph", graph=GRAPH)))
        await pilot.press("ctrl+q")

    async def come_back(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.pause(0.2)
        assert (second.pane.id, second.history.here.graph) == ("graph", GRAPH)

    first, second = app_on(project_directory), app_on(project_directory)
    drive(first, leave)
    drive(second, come_back)


def test_given_a_stored_state_of_nonsense_when_the_app_opens_then_it_begins_anew(project_directory: Path) -> None:
    with Project.open(project_directory, write=True, work=False) as project:
        rows = [("app", json.dumps({"place": {"pane": "nowhere", "graph": "x"}, "panes": 3, "theme": "no-such-theme"}))]
        project.db.conn.executemany("INSERT OR REPLACE INTO ui_state VALUES (?, ?)", rows)
        project.db.conn.commit()
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.pause(0.2)
        assert app.pane.id == PANES[0]

    drive(app, steps)


def test_given_a_follower_when_the_other_app_moves_then_it_shows_the_same_and_changes_nothing(
    project_directory: Path,
) -> None:
    app = app_on(project_directory, follow=True)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.pause(0.5)
        with Project.open(project_directory, write=True, work=False) as other, other.transaction():
            moved = json.dumps({"place": {"pane": "interventions"}})
            other.db.execute("INSERT OR REPLACE INTO ui_state VALUES ('app', ?)", [moved])
        for _ in range(100):
            if app.pane.id == "interventions":
                break
            await pilot.pause(0.05)
        assert app.pane.id == "interventions"
        await app.on_kept(Kept("not mine to keep"))
        await until(pilot, "only follows")

    drive(app, steps)
    with Project.open(project_directory, write=False) as project:
        assert findings.listing(project.db) == []
        assert json.loads(project.db.execute("SELECT value FROM ui_state").fetchone()[0])["place"] == {
            "pane": "interventions"
        }


def test_given_two_apps_on_one_project_when_both_keep_a_finding_then_both_are_there(project_directory: Path) -> None:
    first, second = app_on(project_directory), app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        async with second.run_test() as other:
            await opened(other)
            await second.on_kept(Kept("found by the second"))
        await first.on_kept(Kept("found by the first"))

    drive(first, steps)
    with Project.open(project_directory, write=False) as project:
        assert [found.text for found in findings.listing(project.db)] == ["found by the first", "found by the second"]


def test_given_a_terminal_too_small_when_drawn_then_its_size_is_said(project_directory: Path) -> None:
    async def steps(pilot: Steps) -> None:
        await until(pilot, "this terminal is 60×20; the workbench needs 80×24")
        await pilot.resize_terminal(80, 24)
        await until(pilot, "1 Baselines")

    drive(app_on(project_directory), steps, size=(60, 20))


def test_given_no_worker_when_the_app_opens_then_a_banner_says_so_and_reading_works(project_directory: Path) -> None:
    async def steps(pilot: Steps) -> None:
        await until(pilot, "no worker runs on project")

    drive(app_on(project_directory), steps)


def test_given_a_store_of_a_newer_version_when_opened_then_one_line_says_so(
    project_directory: Path,
) -> None:
    with Project.open(project_directory, write=True) as project:
        project.db.execute("PRAGMA user_version = 999")
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await pilot.pause(1.0)

    drive(app, steps)
    assert "schema 999" in str(app.fault)


def test_given_a_line_from_anywhere_when_told_then_it_is_inert(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        app.post_message(Told("[/INST] [@click=app.quit]x[/] \x1b]0;title\x07", error=True))
        text = await until(pilot, "[/INST] [@click=app.quit]x[/]")
        assert "\x1b" not in text and "\x07" not in text

    drive(app, steps)


def test_given_a_question_when_the_answer_is_refused_then_the_fault_stands_under_it(project_directory: Path) -> None:
    app = app_on(project_directory)

    async def steps(pilot: Steps) -> None:
        await opened(pilot)
        await pilot.press("f8")
        await pilot.pause(0.2)
        assert isinstance(app.screen, Question)
        app.screen.query_one(Input).value = "view.png"
        await pilot.press("enter")
        await until(pilot, "does not say what to save as")
        await pilot.press("escape")
        await pilot.pause(0.1)
        assert app.screen is app.default_screen

    drive(app, steps)


@pytest.mark.parametrize(("ending", "begins"), [(".txt", "hello"), (".svg", "<svg"), (".md", "```text")])
def test_given_a_view_when_saved_then_the_ending_decides_the_form(tmp_path: Path, ending: str, begins: str) -> None:
    assert save_view("hello", str(tmp_path / f"view{ending}")) == f"saved to {tmp_path / f'view{ending}'}"
    text = (tmp_path / f"view{ending}").read_text()
    assert text.startswith(begins) and "hello" in text


def test_given_a_history_then_a_new_step_forgets_what_lay_ahead() -> None:
    history = History()
    first, second, third = Place("graph", graph=1), Place("graph", graph=2), Place("features")
    for place in (first, second):
        history.go(place)
    assert history.step(-1) == first
    history.go(third)
    assert history.step(1) is None
    assert history.step(-1) == first
    assert second not in history.places


def test_given_a_place_when_written_and_read_then_it_is_the_same_and_nonsense_is_left_out() -> None:
    place = Place("graph", prompt="a", graph=3, node="L1/2@3")
    assert Place.read(place.document()) == place
    assert Place.read({"pane": 3, "graph": "x", "what": 1, "node": "L1/2@3"}) == Place(node="L1/2@3")


def test_given_a_closed_store_when_it_is_read_or_noted_then_the_work_counts_as_cancelled(
    project_directory: Path,
) -> None:
    async def asked_too_late() -> None:
        store = StoreThread(project_directory, lambda: None)
        assert await store.read(lambda project: project.model.spec)
        store.close()
        for work in (store.read, store.note):
            with pytest.raises(Cancelled):
                await work(lambda project: project.model.spec)

    asyncio.run(asked_too_late())
