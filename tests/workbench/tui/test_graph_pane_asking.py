"""What the graph pane asks of the model, of other graphs and of other panes, in the real app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import graphs
from store.project import Project
from tests.workbench.tui.app_project import GRAPH, NEURON_GRAPH
from tests.workbench.tui.fixed_graph import insert_graph
from tests.workbench.tui.graph_driver import Driver, on_graph
from tests.workbench.tui.screen_text import until


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
        await until(driver.pilot, "--format")
        await driver.type(str(file))
        while not file.exists():
            await driver.pilot.pause(0.05)
        await driver.press("E")
        await driver.type(str(file))
        await until(driver.pilot, "exists")

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
