"""Shaping a graph in the real app: what is on the screen, and what is in the store afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store import graph_shape, graphs
from store.project import Project
from tasks.graphs.prune import prune
from tasks.graphs.raw import read_raw_graph
from tasks.graphs.score import graph_scores
from tests.workbench.tui.app_project import GRAPH
from tests.workbench.tui.fixed_graph import insert_graph
from tests.workbench.tui.graph_driver import Driver, on_graph
from tests.workbench.tui.screen_text import until


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


def test_given_a_follower_when_keys_that_change_are_pressed_then_nothing_changes(project_directory: Path) -> None:
    async def steps(driver: Driver) -> None:
        await driver.to(driver.strongest())
        before = driver.tree_text
        await driver.press("p", "w", "V", "h", "ctrl+z")
        assert not driver.shown.shape.pinned and driver.tree_text == before

    on_graph(project_directory, steps, follow=True)
