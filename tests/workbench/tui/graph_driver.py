"""The app with a graph open, as tests of the graph pane drive it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from tests.workbench.tui.app_project import GRAPH
from tests.workbench.tui.screen_text import drive, screen_text, until
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
        await until(pilot, "no worker runs")  # the banner takes a line
        while not app.opened:
            await pilot.pause(0.02)
        await pilot.pause(0.1)
        await app.on_went(Went(Place("graph", graph=graph)))
        await driver.settled()
        await steps(driver)

    drive(app, run, size)
