"""What is on the app's screen, as a person would read it, and golden files of it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.app import App
from textual.pilot import Pilot

from workbench.tui.app import Workbench
from workbench.tui.pane import Pane
from workbench.tui.widgets.masthead import Masthead

_DIRECTORY = Path(__file__).parent / "golden_files"
_PATIENCE_S = 20.0
_STEP_S = 0.05
_SETTLED_S = 2.0
_UNSETTLED_S = 10.0


class PatientPilot(Pilot[int]):
    """A pilot that looks up from the keys only when the panes have done what the keys set going.

    A card follows a cursor that has rested for some time, and what it says is read by a thread: how long both take
    depends on the machine, and what is on the screen must not.
    """

    async def press(self, *keys: str) -> None:
        """Keys, and what they set going."""
        await super().press(*keys)
        await self.settled()

    async def pause(self, delay: float | None = None) -> None:
        """A pause, and what was going on still."""
        await super().pause(delay)
        await self.settled()

    async def settled(self) -> None:
        """Wait until no pane waits for a rest or for a thread; a question that is up waits for a person."""
        still = 0
        for _ in range(round(_UNSETTLED_S / _STEP_S)):
            still = 0 if self._busy() else still + 1
            if still == 2:  # also after what the last one to end may have asked for
                return
            await super().pause(None if still else _STEP_S)

    def _busy(self) -> bool:
        if len(self.app.screen_stack) != 1:
            return False
        if any(isinstance(worker.node, Pane) and not worker.is_finished for worker in self.app.workers):
            return True
        panes = self.app.screen.query(Pane)
        tasks = [timer._task for pane in panes for timer in pane._timers if timer._repeat == 0]
        return any(task is not None and not task.done() for task in tasks)


def drive(app: App[int], steps: Callable[[Pilot[int]], Awaitable[None]], size: tuple[int, int] = (120, 40)) -> None:
    """Run the app without a terminal and take `steps` in it."""

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            if isinstance(app, Workbench):
                await _worker_heard(pilot, app)
            await steps(PatientPilot(app) if isinstance(app, Workbench) else pilot)

    asyncio.run(run())


async def _worker_heard(pilot: Pilot[int], app: Workbench) -> None:
    """Wait until the app knows whether there is a worker: the line that says so moves what is below it."""
    for _ in range(round(_PATIENCE_S / _STEP_S)):
        if app.fault is not None or app.default_screen.query_one(Masthead).about.endswith(("worker", "up")):
            return
        await pilot.pause(_STEP_S)


def screen_text(app: App[int]) -> str:
    """The lines of the screen, without colour, blanks at the ends of lines taken away."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


async def until(pilot: Pilot[int], words: str) -> str:
    """Wait until `words` are on the screen, and return it; an assertion shows what was there instead."""
    text = ""
    for _ in range(round(_PATIENCE_S / _STEP_S)):
        text = screen_text(pilot.app)
        if words in text:
            return text
        await pilot.pause(_STEP_S)
    raise AssertionError(f"{words!r} did not come up; the screen:\n{text}")


async def assert_golden_screen(name: str, app: App[int]) -> None:
    """The screen from the pane on comes to be what the golden file `NAME_COLUMNSxLINES` holds.

    What stands over the pane names directories and the state of a worker. WORKBENCH_GOLDEN=write writes the file.
    """
    path = _DIRECTORY / f"{name}_{app.size.width}x{app.size.height}.txt"
    if os.environ.get("WORKBENCH_GOLDEN") == "write":
        await asyncio.sleep(_SETTLED_S)
        path.parent.mkdir(exist_ok=True)
        path.write_text(_below_banner(app), encoding="utf-8")
    golden = path.read_text(encoding="utf-8")
    for _ in range(round(_PATIENCE_S / _STEP_S)):
        if _below_banner(app) == golden:
            return
        await asyncio.sleep(_STEP_S)
    assert _below_banner(app) == golden


def _below_banner(app: App[int]) -> str:
    above = app.screen_stack[0].query_one("ContentSwitcher").region.y
    return "\n".join(screen_text(app).split("\n")[above:])
