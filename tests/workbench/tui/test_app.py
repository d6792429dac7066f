"""The app's frame: panes, history, help, palette, state, jobs."""

from pathlib import Path

from textual.pilot import Pilot

from tests.workbench.tui.screen_text import drive, until
from workbench.tui.app import Workbench


def test_given_a_project_when_number_keys_are_pressed_then_the_panes_come_up(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await until(pilot, "project  ")
        for key, name in zip("2341", ("features", "graph", "interventions", "baselines"), strict=True):
            await pilot.press(key)
            await pilot.pause()
            assert app.pane.id == name

    app = Workbench(project_directory, starts_worker=False)
    drive(app, steps)
