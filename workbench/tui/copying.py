"""Copying text out of the terminal: through tmux where there is one, else by OSC 52; the last copy is always in a file.

A terminal does not say whether it took an OSC 52 copy, and tmux drops it by default (TERMINAL.md), hence the file.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from workbench.worker.runtime_directory import address_of

_LONGEST_TMUX_S = 2.0


def copy_text(text: str, project: Path, by_terminal: Callable[[str], object]) -> str:
    """Copy `text`; `by_terminal` sends it as OSC 52, the file lies beside the project's worker.

    Returns what to tell the person.
    """
    path = address_of(project).folder / "copied.txt"
    path.write_text(text, encoding="utf-8")
    if os.environ.get("TMUX") and _into_tmux(text):
        return f"copied to tmux and the clipboard; also in {path}"
    by_terminal(text)
    return f"copied, if this terminal allows it; also in {path}"


def _into_tmux(text: str) -> bool:
    """Give it to tmux, which passes it on to the clipboard of the terminal outside."""
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"], input=text.encode(), check=False, timeout=_LONGEST_TMUX_S,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
