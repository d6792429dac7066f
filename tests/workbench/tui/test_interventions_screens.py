"""Golden screens of the console, empty and full, at both sizes."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tasks.intervene import Params
from tests.workbench.tui.console import LARGE, PROMPT, console, document, insert_run, run
from tests.workbench.tui.screen_text import assert_golden_screen, until
from workbench.tui.messages import Went
from workbench.tui.place import Place
from workbench.tui.widgets.line_list import LineList


async def without_banner(pilot: Pilot[int]) -> None:
    """It names a directory, and so takes more lines or fewer."""
    pilot.app.screen_stack[0].query_one("#banner").display = False
    await pilot.pause(0.3)


def fixed_runs(directory: Path) -> None:
    """Three runs with fixed numbers, one of them over doses."""
    base: dict[str, Any] = {"prompt": PROMPT, "dictionary": "neurons"}
    one, other = "L0/12@10", "L2/3"
    insert_run(directory, Params(**base, ablate=(one,)), document([f"ablate {one}"], -0.546, -0.525), 1)
    insert_run(directory, Params(**base, steer=(f"{other}=+2",)), document([f"steer {other}=+2"], 0.25, None), 2)
    both = document([f"ablate {one}", f"steer {other}=+2"], -0.31, -0.4)
    insert_run(directory, Params(**base, ablate=(one,), steer=(f"{other}=+2",)), both, 3)
    swept = Params(**base, ablate=(one,), sweep="-1..3/5")
    insert_run(directory, swept, document([f"ablate {one}"], -0.546, -0.525, sweep=True), 4)


@pytest.mark.parametrize("size", [(80, 24), LARGE])
def test_given_an_empty_project_when_opened_then_the_console_reads_as_the_golden_screen(
    empty_directory: Path, size: tuple[int, int]
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await without_banner(pilot)
        await until(pilot, "Nothing on the board yet")
        await pilot.pause(0.3)
        await assert_golden_screen("interventions_empty", pilot.app)

    run(empty_directory, steps, size)


@pytest.mark.parametrize("size", [(80, 24), LARGE])
def test_given_stored_runs_when_shown_then_the_console_reads_as_the_golden_screen(
    empty_directory: Path, size: tuple[int, int]
) -> None:
    fixed_runs(empty_directory)

    async def steps(pilot: Pilot[int]) -> None:
        await without_banner(pilot)
        pilot.app.post_message(Went(Place(pane="interventions", intervention=3)))
        await until(pilot, "all 2 together")
        await pilot.press("home")
        console(pilot).query_one("#board", LineList).focus()
        await until(pilot, "first order")
        await pilot.pause(0.4)
        await assert_golden_screen("interventions_full", pilot.app)
        await pilot.press("h")
        await until(pilot, "intervention 4, job" if size == LARGE else "ablate L0/12@10, steer")
        await pilot.pause(0.4)
        await assert_golden_screen("interventions_history", pilot.app)

    run(empty_directory, steps, size)
