"""Starting the app, and what it leaves on the terminal when it has ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from store.errors import BadInput

LOW_BANDWIDTH_FPS = "10"


def launch(directory: Path, follow: bool = False, low_bandwidth: bool = False) -> int:
    """Run the app on the project in `directory` and return its exit code. `BadInput` where there is no terminal."""
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # textual draws on stderr
        raise BadInput("the app needs a terminal", "run it in one; `workbench --help` lists what needs none")
    if low_bandwidth:
        os.environ["TEXTUAL_FPS"] = LOW_BANDWIDTH_FPS  # read once, when textual is imported
    from workbench.tui.app import Workbench

    return Workbench(directory, follow, low_bandwidth).run() or 0
