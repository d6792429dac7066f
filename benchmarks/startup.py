"""How long a person waits for words: `workbench --help` and one subcommand's help, as fresh processes."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

_RUNS = 7
_COMMAND_LINES = {"workbench --help": ["--help"], "workbench train --help": ["train", "--help"]}


def measure() -> dict[str, float]:
    """The median wall time of each command line, in seconds."""
    return {f"{name}, s": median(_timed(words) for _ in range(_RUNS)) for name, words in _COMMAND_LINES.items()}


def _timed(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "workbench", *words], check=True, capture_output=True)
    return time.perf_counter() - started
