"""The graph pane in the real app: what is on the screen, and what is in the store afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from store import graph_shape, graphs
from store.project import Project
from tasks.graphs.prune import prune
from tasks.graphs.raw import read_raw_graph
from tasks.graphs.score import graph_scores
from tests.workbench.tui.app_project import GRAPH, NEURON_GRAPH
from tests.workbench.tui.fixed_graph import insert_graph
from tests.workbench.tui.screen_text import assert_golden_screen, drive, screen_text, until
from workbench.tui.app import Workbench
from workbench.tui.messages import Went
from workbench.tui.panes.graph.pane import Graph
from workbench.tui.panes.graph.shown import Shown
from workbench.tui.place import Place

Steps = Pilot[int]


class Driver:
    """The app with one graph open."""

    def __init__(self, pilot: Steps) -> None:
        self.pilot = pilot
        assert isinstance(pilot.app, Workbench)
        self.app: Workbench = pilot.app

    @property
    def pane(self) -> Graph:
        pane = self.app.default_screen.query_one("#graph")
        assert isinstance(pane, Graph)
        return pane

    @property
    def shown(self) -> Shown:
        assert self.pane.shown is not None
        return self.pane.shown

    async def press(self, *keys: str) -> None:
        """Keys, each done before the next, and what they set going in threads too."""
        for key in keys:
            await self.pilot.press(key)
            await self.settled()

    async def settled(self) -> None:
        await self.pilot.pause()
        for _ in range(400):
            if not self.pane.pending and not self.pane.scoring.pending and not self._noting():
                break
            await self.pilot.pause(0.02)
        await self.pilot.pause()

    def _noting(self) -> bool:
        return any(worker.group in ("note", "graph", "words") and not worker.is_finished for worker in self.app.workers)

    async def type(self, text: str) -> None:
        """Into the question that is up, and answer it."""
        for _ in range(100):
            if isinstance(self.app.focused, Input):
                break
            await self.pilot.pause(0.02)
        line = self.app.screen.query_one(Input)
        line.value = text
        await self.press("enter")
        await self.pilot.pause(0.05)
        await self.settled()

    async def to(self, words: str) -> None:
        """The cursor to the first line of the tree that holds `words`."""
        tree = self.shown.tree
        at = next(index for index in range(len(tree)) if words in tree.line(index, 400).plain)
        self.pane.tree_list.cursor = at
        await self.pilot.pause()

    def strongest(self) -> str:
        """The name of the strongest feature under the first root."""
        lines = self.shown.tree.lines
        return next(line.node.name for line in lines if line.node is not None and line.node.kind == "feature")

    @property
    def text(self) -> str:
        return screen_text(self.app)

    @property
    def tree_text(self) -> list[str]:
        """The upper lines without the card, which follows later."""
        return [line[:90] for line in self.text.splitlines()[2:24]]


def on_graph(
    directory: Path, steps: Callable[[Driver], Awaitable[None]], graph: int = GRAPH, size: tuple[int, int] = (160, 48),
    **options: bool,
) -> None:  # fmt: skip
    """Open the app on `graph` (0: on the list) and take the steps."""
    app = Workbench(directory, starts_worker=False, **options)

    async def run(pilot: Steps) -> None:
        driver = Driver(pilot)
        await until(pilot, "1 Baselines")
        while not app.opened:
            await pilot.pause(0.02)
        await pilot.pause(0.1)
        await app.on_went(Went(Place("graph", graph=graph)))
        await driver.settled()
        await steps(driver)

    drive(app, run, size)


def test_given_graphs_when_the_pane_opens_then_they_are_listed_newest_first_and_enter_opens_one(
    project_directory: Path,
) -> None:
    async def steps(driver: Driver) -> None:
        text = await until(driver.pilot, "2 graphs")
        assert text.index(f"{NEURON_GRAPH}  ") < text.index(f"{GRAPH}  ", text.index(f"{NEURON_GRAPH}  ") + 3)
        await driver.press("down", "enter")
        await until(driver.pilot, f"graph {GRAPH}  toy")
        assert driver.pane.graph_id == GRAPH
        await driver.press("l")
        assert "2 graphs" in driver.text
        await driver.press("enter")
        assert f"graph {GRAPH}  toy" in driver.text

    on_graph(project_directory, steps, graph=0)


def test_given_no_graph_when_the_pane_opens_then_it_says_what_makes_one(empty_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        assert "no graph yet" in driver.text and "workbench trace" in driver.text
        for action in Graph.ACTIONS:  # none of them may end the app where there is nothing to do it on
            await driver.press(action.keys.split(",")[0])
            while len(driver.app.screen_stack) > 1:
                await driver.press("escape")
        assert "no graph is open" in driver.text

    on_graph(empty_directory, steps, graph=0)


def test_given_a_node_when_opened_closed_and_met_again_then_the_tree_says_where_it_is(project_directory: Path) -> None:
    directory = project_directory
    graph = insert_graph(directory)

    async def steps(driver: Driver) -> None:
        await driver.to("L2/91@4")
        await driver.press("right")
        assert "↩" not in driver.text and driver.text.count("L1/345@3") == 2
        await driver.to("L1/345@3")
        await driver.press("right")
        assert "↩ see L1/345@3" in driver.text
        before = driver.pane.tree_list.cursor
        await driver.to("↩ see L1/345@3")
        await driver.press("enter")
        assert driver.pane.tree_list.cursor == before
        await driver.press("left")
        assert "↩" not in driver.text
        await driver.press("left")
        assert driver.shown.tree.node_at(driver.pane.tree_list.cursor).name == "L2/91@4"  # type: ignore[union-attr]
        await driver.press("enter")
        assert "pruned, constants" in driver.text and "error: " in driver.text

    on_graph(directory, steps, graph)


def test_given_more_children_than_fit_when_the_rest_is_chosen_then_it_is_shown(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        n_lines = len(driver.shown.tree)
        await driver.to("weaker, ")
        await driver.press("enter")
        assert len(driver.shown.tree) > n_lines

    on_graph(project_directory, steps, NEURON_GRAPH)


def test_given_other_roots_when_gone_back_then_the_tree_is_as_it_was(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        name = driver.strongest()
        await driver.to(name)
        before = driver.tree_text
        await driver.press("r")
        assert driver.shown.tree.node_at(0).name == name  # type: ignore[union-attr]
        await driver.press("o")
        assert driver.shown.tree.direction == "out" and "consequences" in driver.text
        await driver.press("backspace", "backspace")
        assert driver.tree_text == before
        await driver.press("backspace")
        assert "no root before this one" in driver.text
        await driver.press("r", "home")
        assert driver.shown.tree.node_at(0).kind == "logit"  # type: ignore[union-attr]
        await driver.press("down", "o", "i", "s")
        assert "causes, by share" in driver.text

    on_graph(project_directory, steps)


def kept_by_pruning(directory: Path, node: float, edge: float) -> tuple[int, int]:
    with Project.open(directory, write=False) as project:
        path = project.files.verify(graphs.arrays(project, GRAPH))
        pruned = prune(read_raw_graph(graphs.find(project.db, GRAPH), path), node, edge)
    return int(pruned.node_kept.sum()), len(pruned.edges)


def test_given_thresholds_when_changed_then_the_counts_are_those_of_pruning_and_w_writes_them(
    project_directory: Path, in_project: Callable[[str], Any]
) -> None:
    async def steps(driver: Driver) -> None:
        assert "[0.80]" in driver.text and "w writes" not in driver.text
        await driver.press(*["left_square_bracket"] * 3, "left_curly_bracket")
        assert "[0.74]" in driver.text and "{0.96}" in driver.text
        nodes, edges = kept_by_pruning(project_directory, 0.74, 0.96)
        assert f"{nodes} of" in driver.text and f"{edges} of" in driver.text
        await driver.press("right_square_bracket", "right_curly_bracket", "t")
        await driver.type("2 0.5")
        assert "lies between 0 and 1" in driver.text
        await driver.type("0.9 0.5")
        nodes, edges = kept_by_pruning(project_directory, 0.9, 0.5)
        assert f"{nodes} of" in driver.text and f"{edges} of" in driver.text
        await driver.press("w")
        while not in_project("SELECT 1 FROM job WHERE kind = 'prune'"):
            await driver.pilot.pause(0.05)

    on_graph(project_directory, steps)
    kind, params = in_project("SELECT kind, params FROM job ORDER BY id DESC LIMIT 1")[0]
    asked = json.loads(params)
    assert (kind, asked["graph"], asked["node_threshold"], asked["edge_threshold"]) == ("prune", GRAPH, 0.9, 0.5)


def test_given_a_pinned_node_when_pruned_away_then_it_stays_and_its_scores_are_those_of_the_command_line(
    project_directory: Path,
) -> None:
    async def steps(driver: Driver) -> None:
        name = driver.strongest()
        await driver.to(name)
        await driver.press("p")
        assert "◆" in driver.text and "1 pinned" in driver.text
        await driver.press("t")
        await driver.type("0 0.98")
        assert name in {node.name for node in driver.shown.tree.lens.nodes.values()}
        features = [node for node in driver.shown.tree.lens.nodes.values() if node.kind == "feature"]
        assert [node.name for node in features] == [name]
        await driver.press("t")
        await driver.type("0.8 0.98")
        with Project.open(project_directory, write=False) as project:
            part = graph_scores(project, GRAPH, [name])["chosen"]
        await until(driver.pilot, f"replacement {part['replacement_score']:.3f}")
        assert f"completeness {part['completeness_score']:.3f}" in driver.text
        await driver.press("b")
        assert (
            "pinned only" in driver.text
            and len([n for n in driver.shown.tree.lens.nodes.values() if n.kind == "feature"]) == 1
        )
        await driver.press("b")
        assert "pinned only" not in driver.text

    on_graph(project_directory, steps)


def test_given_edits_when_undone_after_a_restart_then_they_go_and_come(project_directory: Path) -> None:
    names: list[str] = []

    async def pins(driver: Driver) -> None:
        names.append(driver.strongest())
        await driver.to(names[0])
        await driver.press("p", "down", "p")

    async def undoes(driver: Driver) -> None:
        assert len(driver.shown.shape.pinned) == 2
        await driver.press("ctrl+z")
        assert len(driver.shown.shape.pinned) == 1 and "undone: pin" in driver.text
        await driver.press("ctrl+z", "ctrl+z")
        assert not driver.shown.shape.pinned and "to undo" in driver.text
        await driver.press("ctrl+y")
        assert {driver.shown.graph.node(node).name for node in driver.shown.shape.pinned} == {names[0]}

    on_graph(project_directory, pins)
    on_graph(project_directory, undoes)


def test_given_selected_nodes_when_grouped_renamed_drawn_together_and_dissolved_then_the_store_has_each_step(
    project_directory: Path,
) -> None:
    def stored() -> dict[str, list[int]]:
        with Project.open(project_directory, write=False) as project:
            return graphs.supernodes(project.db, GRAPH)

    async def steps(driver: Driver) -> None:
        await driver.press("g")
        assert "nothing is selected" in driver.text
        await driver.to(driver.strongest())
        await driver.press("v", "down", "space")
        chosen = sorted(driver.shown.selected)
        assert len(chosen) == 2 and "2 selected" in driver.text
        await driver.press("g")
        await driver.type(" ")
        assert "printable characters" in driver.text
        await driver.type("one [/INST]")
        assert stored() == {"one [/INST]": chosen} and not driver.shown.selected
        await driver.press("G")
        assert "[one [/INST]]  2: " in driver.text and "grouped" in driver.text
        await driver.to("[one [/INST]]")
        await driver.press("e")
        await driver.type("two")
        assert stored() == {"two": chosen} and "[two]" in driver.text
        await driver.to("[two]")
        await driver.press("u")
        assert stored() == {} and "[two]" not in driver.text
        await driver.press("ctrl+z", "ctrl+z")
        assert stored() == {"one [/INST]": chosen}

    on_graph(project_directory, steps)


def test_given_a_feature_when_labelled_then_tree_card_and_store_have_it_and_undo_takes_it_back(
    project_directory: Path, in_project: Callable[[str], Any]
) -> None:
    async def steps(driver: Driver) -> None:
        name = driver.strongest()
        await driver.to(name)
        await driver.press("e")
        await driver.type("fires on w17")
        await until(driver.pilot, "fires on w17")
        assert in_project("SELECT count(*) FROM feature WHERE label = 'fires on w17'") == [(1,)]
        await driver.press("ctrl+z")
        assert in_project("SELECT count(*) FROM feature WHERE label = 'fires on w17'") == [(0,)]

    on_graph(project_directory, steps)


def test_given_a_kept_view_when_returned_to_then_thresholds_root_direction_and_pins_are_its(
    project_directory: Path,
) -> None:
    async def steps(driver: Driver) -> None:
        await driver.press("R")
        assert "no view of this graph was kept" in driver.text
        name = driver.strongest()
        await driver.to(name)
        await driver.press("p", "r", "o", "left_square_bracket", "S")
        await driver.type("upwards")
        await driver.press("p", "home", "i", "right_square_bracket", "right_square_bracket", "R")
        await until(driver.pilot, "Return to")
        await driver.press("enter")
        await until(driver.pilot, "consequences")
        await driver.settled()
        shown = driver.shown
        assert (shown.tree.node_at(0).name, shown.thresholds[0]) == (name, 0.78)  # type: ignore[union-attr]
        assert {shown.graph.node(node).name for node in shown.shape.pinned} == {name}

    on_graph(project_directory, steps)
    with Project.open(project_directory, write=False) as project:
        assert list(graph_shape.views(project.db, GRAPH)) == ["upwards"]


def test_given_the_map_when_a_cell_is_opened_then_its_nodes_are_the_roots(project_directory: Path) -> None:
    graph = insert_graph(project_directory)

    async def steps(driver: Driver) -> None:
        await driver.to("L2/91@4")
        await driver.press("m")
        assert "L2 @4" in driver.text and "1 feature +1.500 nats" in driver.text
        await driver.press("down")
        assert "L1 @4" in driver.text and "1 error" in driver.text
        await driver.press("left", "left", "enter")
        assert "nothing is drawn in this cell" in driver.text
        await driver.press("right", "enter")
        assert [line.node.name for line in driver.shown.tree.lines if line.node and not line.guides] == ["L1/345@3"]
        await driver.press("m", "m", "m", "up", "right", "escape")
        assert driver.pane.mode == "tree"

    on_graph(project_directory, steps, graph)


def test_given_the_card_when_the_cursor_rests_then_it_has_words_numbers_and_where_else_it_is_active(
    project_directory: Path,
) -> None:
    async def steps(driver: Driver) -> None:
        name = driver.strongest()
        await driver.to(name)
        text = await until(driver.pilot, "activation over the prompt")
        for words in (
            "promotes",
            "density",
            "of tokens",
            "▲ this one",
            "predicted",
            "nats lost without it",
            "edges in",
        ):
            assert words in text
        assert driver.app.history.here.node == name and driver.app.history.here.graph == GRAPH
        await driver.press("c")
        assert "activation over the prompt" not in driver.text

    on_graph(project_directory, steps)


def test_given_places_when_gone_to_or_followed_then_the_cursor_is_on_their_node(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        lens = driver.shown.tree.lens
        deep = min((n for n in lens.nodes.values() if n.kind == "feature"), key=lambda n: (n.layer, n.feature))
        await driver.app.on_went(Went(Place("graph", graph=GRAPH, node=deep.name)))
        await driver.settled()
        assert driver.shown.tree.node_at(driver.pane.tree_list.cursor) == deep
        await driver.press("home")
        record = driver.shown.graph.record
        await driver.pane.follow(Place(feature=f"L{deep.layer}/{deep.feature}", dictionary=record.dictionary))
        found = driver.shown.tree.node_at(driver.pane.tree_list.cursor)
        assert found is not None and (found.layer, found.feature) == (deep.layer, deep.feature)
        await driver.pane.follow(Place(feature=f"L{deep.layer}/{deep.feature}", dictionary="another"))
        await driver.app.on_went(Went(Place("graph", graph=NEURON_GRAPH)))
        assert driver.pane.graph_id == NEURON_GRAPH
        await driver.press("n")
        assert driver.pane.graph_id == GRAPH
        await driver.press("N")
        assert driver.pane.graph_id == NEURON_GRAPH

    on_graph(project_directory, steps)


def test_given_words_when_looked_for_then_each_press_goes_to_the_next_that_fits(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        await driver.press("slash")
        await driver.type("L0/")
        first = driver.shown.tree.node_at(driver.pane.tree_list.cursor)
        assert first is not None and first.layer == 0
        await driver.press("slash")
        await driver.type("nowhere at all")
        assert "nothing that is drawn fits" in driver.text

    on_graph(project_directory, steps)


def test_given_the_edge_under_the_cursor_when_its_heads_are_asked_for_then_the_page_comes_when_the_job_ends(
    project_directory: Path, run_queued: Callable[[], None]
) -> None:
    async def steps(driver: Driver) -> None:
        await driver.press("h")
        assert "no edge is under the cursor" in driver.text
        await driver.to("token ")
        await driver.press("h")
        assert driver.pane._waiting
        await asyncio.to_thread(run_queued)
        job = next(iter(driver.pane._waiting))
        await driver.pane.job_ended(job, "heads", "succeeded")
        await until(driver.pilot, "the edge")
        await driver.press("escape", "h")  # now it is in the store
        await until(driver.pilot, "the edge")
        await driver.press("escape", "Q")
        await driver.type("head one")
        assert "write them as" in driver.text
        await driver.type("L1H0 6")
        await driver.settled()
        assert [kind for kind, _ in driver.pane._waiting.values()] == ["qk"]

    on_graph(project_directory, steps)


@pytest.fixture
def run_queued(project_directory: Path) -> Callable[[], None]:
    """Do what the worker would: run the job that waits."""

    def run() -> None:
        from store import jobs
        from tasks.context import Context
        from tasks.execute import run_claimed

        with Project.open(project_directory, write=True) as project:
            job = jobs.claim(project.db, 1)
            assert job is not None
            run_claimed(job, Context(project), lambda: "cancelled")

    return run


def test_given_a_graph_that_is_not_validated_when_asked_then_the_job_is_queued_and_its_marks_appear(
    project_directory: Path, in_project: Callable[[str], Any]
) -> None:
    async def steps(driver: Driver) -> None:
        assert not driver.shown.graph.has_measured
        await driver.press("V")
        while not in_project("SELECT 1 FROM job WHERE kind = 'validate' AND state = 'queued'"):
            await driver.pilot.pause(0.05)
        name = driver.strongest()
        node = next(n for n in driver.shown.tree.lens.nodes.values() if n.name == name)
        with Project.open(project_directory, write=True) as project, project.transaction():
            effect = graphs.EffectRecord("ablation", node.layer, node.position, node.feature, 0.5, 0.25, "weak")
            graphs.insert_effects(project.db, NEURON_GRAPH, 1, [effect])
        await driver.pane.job_ended(0, "validate", "succeeded")
        await until(driver.pilot, "real")
        assert "+0.250 ~" in driver.text

    on_graph(project_directory, steps, NEURON_GRAPH)
    assert in_project("SELECT kind FROM job ORDER BY id DESC LIMIT 1") == [("validate",)]


@pytest.mark.parametrize(("key", "edit"), [("a", "ablate {}"), ("plus", "steer {}=+1max"), ("x", "swap {}")])
def test_given_a_feature_when_sent_then_the_console_has_the_edit(project_directory: Path, key: str, edit: str) -> None:
    async def steps(driver: Driver) -> None:
        name = driver.strongest()
        await driver.to(name)
        await driver.press(key)
        await until(driver.pilot, edit.format(name))
        assert driver.app.pane.id == "interventions"

    on_graph(project_directory, steps)


def test_given_two_graphs_when_compared_then_the_page_says_what_they_share(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        await driver.press("d")
        await until(driver.pilot, "Compare with")
        await driver.press("enter")
        await until(driver.pilot, "Jaccard")

    on_graph(project_directory, steps)


def test_given_two_logits_that_are_selected_when_compared_then_their_difference_is_by_source(
    project_directory: Path,
) -> None:
    graph = insert_graph(project_directory)

    async def steps(driver: Driver) -> None:
        await driver.press("v")
        await driver.to("Lyon")
        await driver.press("v", "d")
        text = await until(driver.pilot, "A−B")
        line = next(line for line in text.splitlines() if "L2/91@4" in line and "+1.500" in line)
        assert "+2.000" in line and "+0.500" in line and "\x1b" not in text

    on_graph(project_directory, steps, graph)


def test_given_a_file_when_the_graph_is_written_then_it_is_there_and_never_overwritten(
    project_directory: Path, tmp_path: Path
) -> None:
    file = tmp_path / "graph.graphml"

    async def steps(driver: Driver) -> None:
        await driver.press("E")
        await driver.type(str(tmp_path / "graph.xyz"))
        assert "ends in none of" in driver.text
        await driver.type(str(file))
        while not file.exists():
            await driver.pilot.pause(0.05)
        await driver.press("E")
        await driver.type(str(file))
        assert "exists" in driver.text

    on_graph(project_directory, steps)
    assert file.read_text().startswith("<?xml")


def test_given_the_feature_under_the_cursor_when_f_is_pressed_then_the_features_show_it(
    project_directory: Path,
) -> None:
    async def steps(driver: Driver) -> None:
        name = driver.strongest()
        await driver.to(name)
        await driver.press("f")
        assert driver.app.pane.id == "features" and driver.app.history.here.feature == name.split("@")[0]

    on_graph(project_directory, steps)


def test_given_what_others_write_when_the_store_changes_then_list_and_groups_follow(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        with Project.open(project_directory, write=True) as project, project.transaction():
            nodes = [n.node for n in graphs.nodes(project.db, GRAPH) if n.kind == "feature"][:2]
            graphs.set_supernode(project.db, GRAPH, "theirs", nodes)
        await driver.pane.store_changed()
        await driver.press("G")
        assert "theirs" in {node.name for node in driver.shown.tree.lens.nodes.values()}
        insert_graph(project_directory)
        await driver.pane.store_changed()
        await driver.press("escape")
        assert "3 graphs" in driver.text

    on_graph(project_directory, steps)


def test_given_a_look_when_the_app_is_opened_again_then_it_is_the_same_screen(project_directory: Path) -> None:
    screens: list[str] = []

    async def looks(driver: Driver) -> None:
        await driver.to(driver.strongest())
        await driver.press("right", "down", "v", "left_square_bracket", "s")
        await until(driver.pilot, "activation over the prompt")
        screens.append(driver.text.split("\n", 3)[3])
        driver.app.save_state()

    async def returns(driver: Driver) -> None:
        text = await until(driver.pilot, "activation over the prompt")
        assert text.split("\n", 3)[3] == screens[0]

    on_graph(project_directory, looks)
    on_graph(project_directory, returns)


def test_given_a_follower_when_keys_that_change_are_pressed_then_nothing_changes(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        await driver.to(driver.strongest())
        before = driver.tree_text
        await driver.press("p", "w", "V", "h", "ctrl+z")
        assert not driver.shown.shape.pinned and driver.tree_text == before

    on_graph(project_directory, steps, follow=True)


def test_given_a_number_when_kept_or_copied_then_it_has_its_provenance(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        name = driver.strongest()
        await driver.to(name)
        text, provenance = driver.pane.finding() or ("", {})
        assert name in text and "nats of" in text and provenance["graph"] == GRAPH and provenance["node"] == name
        assert driver.pane.copied() == name
        await driver.press("home")
        assert "replacement" in (driver.pane.finding() or ("", {}))[0]
        exported = driver.pane.exported(120)
        assert exported
        await driver.press("l")
        assert driver.pane.copied().startswith("w5 ")

    on_graph(project_directory, steps)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_given_a_graph_when_drawn_then_tree_and_map_are_the_golden_screens(
    empty_directory: Path, size: tuple[int, int]
) -> None:
    graph = insert_graph(empty_directory)

    async def full(driver: Driver) -> None:
        await driver.to("L2/91@4")
        await driver.press("right", "p")
        if size[0] > 80:
            await until(driver.pilot, "activation over the prompt")
        assert_golden_screen("graph_tree", driver.app)
        await driver.press("m")
        assert_golden_screen("graph_map", driver.app)

    on_graph(empty_directory, full, graph, size)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_given_no_graph_when_drawn_then_it_is_the_golden_screen(empty_directory: Path, size: tuple[int, int]) -> None:
    async def steps(driver: Driver) -> None:
        assert_golden_screen("graph_empty", driver.app)

    on_graph(empty_directory, steps, 0, size)
