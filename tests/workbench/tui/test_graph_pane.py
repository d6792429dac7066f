"""The graph pane in the real app: the list, the tree, the map, the card, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workbench.tui.app_project import GRAPH, NEURON_GRAPH
from tests.workbench.tui.fixed_graph import insert_graph
from tests.workbench.tui.graph_driver import Driver, on_graph
from tests.workbench.tui.screen_text import assert_golden_screen, until
from workbench.tui.messages import Went
from workbench.tui.panes.graph.pane import Graph
from workbench.tui.place import Place


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


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_given_a_graph_when_drawn_then_tree_and_map_are_the_golden_screens(
    empty_directory: Path, size: tuple[int, int]
) -> None:
    graph = insert_graph(empty_directory)

    async def full(driver: Driver) -> None:
        await driver.to("L2/91@4")
        await driver.press("right", "p")
        if size[0] > 80:
            await until(driver.pilot, "is  pinned")
        await assert_golden_screen("graph_tree", driver.app)
        await driver.press("m")
        await assert_golden_screen("graph_map", driver.app)

    on_graph(empty_directory, full, graph, size)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_given_no_graph_when_drawn_then_it_is_the_golden_screen(empty_directory: Path, size: tuple[int, int]) -> None:
    async def steps(driver: Driver) -> None:
        await assert_golden_screen("graph_empty", driver.app)

    on_graph(empty_directory, steps, 0, size)
