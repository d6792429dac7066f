"""Steps that tests of the features pane share: opening it, typing, and hearing what it tells."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.message import Message
from textual.pilot import Pilot

from store.project import Project
from tests.workbench.tui.app_project import GRAPH
from tests.workbench.tui.screen_text import drive, until
from workbench.tui import app as app_module
from workbench.tui.app import Workbench
from workbench.tui.panes.features.pane import Features

Steps = Callable[[Pilot[int]], Awaitable[None]]
Rows = Callable[[str], Any]


class Heard(Workbench):
    """The app, which also keeps what panes tell it."""

    CSS_PATH = str(Path(app_module.__file__).with_name("app.tcss"))

    def __init__(self, *args: Any, **options: Any) -> None:
        """Nothing was heard yet."""
        super().__init__(*args, **options)
        self.heard: list[Any] = []

    def listen(self) -> None:
        """Keep what the pane tells from now on."""
        pane = features_pane(self)
        told = pane.post_message

        def keep(message: Message) -> bool:
            self.heard.append(message)
            return told(message)

        pane.post_message = keep  # type: ignore[method-assign]

    def last(self, kind: type) -> Any:
        """The last message of a kind."""
        return [each for each in self.heard if isinstance(each, kind)][-1]


def features_pane(app: Workbench) -> Features:
    """The pane."""
    return app.default_screen.query_one("#features", Features)


async def begun(pilot: Pilot[int]) -> None:
    """The pane is up: the app has shown where it starts, and then this pane."""
    app = pilot.app
    assert isinstance(app, Heard)
    for _ in range(400):
        if app.opened and app.pane.id != "features":
            await pilot.press("2")
        if "features" in app.opened:
            break
        await pilot.pause(0.05)
    app.listen()
    await until(pilot, "density")


async def back(pilot: Pilot[int]) -> None:
    """From the pane that came up, once it is there, back to this one."""
    app = pilot.app
    assert isinstance(app, Workbench)
    for wanted in ("interventions", "features"):
        for _ in range(400):
            if app.pane.id == wanted:
                break
            if wanted == "features":
                await pilot.press("2")
            await pilot.pause(0.05)
    await pilot.pause(0.2)


async def opened(pilot: Pilot[int]) -> None:
    """The pane is up and its first card is drawn."""
    await begun(pilot)
    await until(pilot, "active on")


async def heard(pilot: Pilot[int], kind: type, number: int = 1) -> Any:
    """The latest message of a kind, once so many were heard."""
    app = pilot.app
    assert isinstance(app, Heard)
    for _ in range(400):
        found = [each for each in app.heard if isinstance(each, kind)]
        if len(found) >= number:
            return found[-1]
        await pilot.pause(0.05)
    raise AssertionError(f"{number} of {kind.__name__} were not heard, but {app.heard}")


async def typed(pilot: Pilot[int], text: str, seen: str) -> str:
    """Put a query into the box, as a person who pastes does, and wait for what it comes to."""
    await pilot.press("slash")
    pilot.app.screen.focused.value = text  # type: ignore[union-attr]
    return await until(pilot, seen)


def run(directory: Path, steps: Steps, size: tuple[int, int] = (160, 48), follow: bool = False) -> Heard:
    app = Heard(directory, follow=follow, starts_worker=False)
    drive(app, steps, size)
    return app


def kept_feature(directory: Path) -> tuple[str, int]:
    """(name, position) of a feature that the graph keeps and whose activation it says."""
    sql = "SELECT layer, feature, position FROM node WHERE graph_id = ? AND kind = 'feature' ORDER BY node LIMIT 1"
    with Project.open(directory, write=False) as project:
        layer, feature, position = project.db.execute(sql, [GRAPH]).fetchone()
    return f"L{layer}/{feature}", position
