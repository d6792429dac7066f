"""Starting the app, and what it leaves on the terminal when it has ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from store.errors import BadInput

FPS, LOW_BANDWIDTH_FPS = "120", "10"
"""Between two frames textual lets one or two periods pass: what a key brings second comes in half the usual time."""


def is_terminal() -> bool:
    """Whether there is a terminal to draw on and to read keys from; Textual draws on stderr."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def launch(directory: Path | None, follow: bool = False, low_bandwidth: bool = False, worker: bool = True) -> int:
    """Run the app on the project in `directory` and return its exit code; with None, first make or find a project.

    With `worker`, one is started if none runs.
    Raises `BadInput` where there is no terminal, and what is wrong with a project that cannot be opened.
    """
    if not is_terminal():
        raise BadInput("the app needs a terminal", "run it in one; `workbench --help` lists what needs none")
    os.environ["TEXTUAL_FPS"] = LOW_BANDWIDTH_FPS if low_bandwidth else FPS  # read once, when textual is imported
    if directory is None:
        from workbench.tui.first_run import FirstRun

        directory = FirstRun().run()
        if directory is None:
            return 0
    from workbench.tui.app import Workbench

    app = Workbench(directory, follow, low_bandwidth, worker)
    code = app.run()
    if app.fault is not None:
        raise app.fault
    return code or 0
