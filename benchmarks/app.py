"""How soon the app is there, and how soon a key is answered: `make bench-tui`, in a real terminal (a pty).

The project holds a million features and a graph of 8 000 attributed ones. A key's time runs from the write of the key
to the last byte of the frame that it brings; keys that bring no frame in time are counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import app_project
from store.project import Project
from tests.workbench.tui.terminal import Terminal, workbench

_RUNS = 9
_QUIET_S = 0.06
"""So long without a byte, and a frame is over."""
_AT_REST_S = 0.4
"""So long without a byte, and what a key brings later (the card of what is under the cursor) has come too."""
_LONGEST_FRAME_S = 3.0
_UP, _DOWN, _RIGHT, _LEFT, _PAGE = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[6~"
_ENTER, _ESCAPE, _BACKSPACE = "\r", "\x1b", "\x7f"
_PANES = {
    "baselines": [_DOWN, _UP] * 20,
    "features": [_DOWN] * 30 + [_PAGE] * 20 + ["\x1b[F", "\x1b[H"] * 3,
    "graph": [_DOWN, _DOWN, _RIGHT, _DOWN, _LEFT] * 8,
    "graph thresholds": ["[", "]", "{", "}"] * 8,
    "interventions": ["a", *"ablate L3/12", *[_BACKSPACE] * 12, *"ablate L3/12@2", _ENTER, _ESCAPE, *[" "] * 12],
}


def measure(directory: Path, graph: int, runs: int = _RUNS) -> dict[str, float]:
    """Every figure: start-up medians in seconds; keys in milliseconds, median and 95th percentile."""
    _begin_on(directory, "features", graph)
    figures = {
        "python -c 'import textual.app', median s": median(_imported() for _ in range(runs)),
        "workbench to a usable screen, median s": median(_opened(directory) for _ in range(runs)),
    }
    for pane, keys in _PANES.items():
        times = _keys(directory, pane.split()[0], graph, keys)
        answered = sorted(value for value in times if value < _LONGEST_FRAME_S)
        if answered:
            figures[f"{pane}: key to frame, median ms"] = 1e3 * median(answered)
            figures[f"{pane}: key to frame, p95 ms"] = 1e3 * answered[int(0.95 * (len(answered) - 1))]
        figures[f"{pane}: keys without a frame, of {len(times)}"] = float(len(times) - len(answered))
    return figures


def _imported() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
    return time.perf_counter() - started


def _opened(directory: Path) -> float:
    """From the start of the process to a list of features out of the store."""
    started = time.perf_counter()
    with Terminal(_command(directory), 120, 40) as terminal:
        terminal.until("4 Interventions", "builtin:none", "features, by")
        return time.perf_counter() - started


def _keys(directory: Path, pane: str, graph: int, keys: Sequence[str]) -> list[float]:
    """The time of each key on a pane that is open and at rest."""
    _begin_on(directory, pane, graph)
    with Terminal(_command(directory), 160, 48) as terminal:
        terminal.until("4 Interventions", "builtin:none")
        _rest(terminal)
        return [_timed(terminal, key) for key in keys]


def _timed(terminal: Terminal, key: str) -> float:
    started = last = time.perf_counter()
    terminal.press(key)
    answered = False
    while time.perf_counter() - last < (_QUIET_S if answered else _LONGEST_FRAME_S):
        if terminal.read(0.002):
            answered, last = True, time.perf_counter()
    _rest(terminal)
    return last - started if answered else _LONGEST_FRAME_S


def _rest(terminal: Terminal) -> None:
    """Until nothing moves."""
    last = time.perf_counter()
    while time.perf_counter() - last < _AT_REST_S:
        if terminal.read(0.02):
            last = time.perf_counter()


def _begin_on(directory: Path, pane: str, graph: int) -> None:
    """Have the app open on a pane."""
    state = json.dumps({"place": {"pane": pane, "graph": graph, "prompt": app_project.PROMPT}})
    with Project.open(directory, write=True, work=False) as project, project.transaction():
        project.db.execute("INSERT OR REPLACE INTO ui_state (key, value) VALUES ('app', ?)", [state])


def _command(directory: Path) -> list[str]:
    return workbench("--project", str(directory), "open", "--no-worker")


def main() -> None:
    """Make the project, unless one is named, and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, help="a project that an earlier run left; made if it is not there")
    parser.add_argument("--features", type=int, default=app_project.N_FEATURES)
    parser.add_argument("--runs", type=int, default=_RUNS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = arguments.project or Path(folder) / "project"
        graph = 1 if directory.exists() else app_project.create(directory, arguments.features)
        for name, value in measure(directory, graph, arguments.runs).items():
            print(f"{name:50} {value:10.3f}")


if __name__ == "__main__":
    main()
