"""Steps of tests of the whole app: opening it."""

from pathlib import Path

from textual.pilot import Pilot

from tests.workbench.tui.screen_text import screen_text
from workbench.tui.app import Workbench

Steps = Pilot[int]


def app_on(directory: Path, **options: bool) -> Workbench:
    return Workbench(directory, starts_worker=False, **options)


async def opened(pilot: Steps) -> None:
    """Wait until the store has answered and the first pane is up."""
    assert isinstance(pilot.app, Workbench)
    for _ in range(400):
        if pilot.app.opened:
            return
        await pilot.pause(0.05)
    raise AssertionError(screen_text(pilot.app))
