"""The whole way in a real terminal: from an empty project to a measured intervention, and all of it found again."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from store.project import Project
from tests.workbench.tui.app_project import PROMPT
from tests.workbench.tui.terminal import Terminal, without_own_sequences, workbench

ENTER, RIGHT, CTRL_Q = "\r", "\x1b[C", "\x11"
_PATIENCE_S = 180.0
"""The worker loads torch meanwhile."""


def asked(directory: Path, sql: str) -> list[Any]:
    """Rows of the project's database."""
    with Project.open(directory, write=False) as project:
        return list(project.db.execute(sql).fetchall())


def job_done(directory: Path, kind: str, terminal: Terminal) -> dict[str, Any]:
    """Wait until the newest job of that kind has succeeded; what it ended with. The screen is read meanwhile."""
    deadline = time.monotonic() + _PATIENCE_S
    rows: list[Any] = []
    while time.monotonic() < deadline:
        rows = asked(directory, f"SELECT state, result, error FROM job WHERE kind = '{kind}' ORDER BY id DESC LIMIT 1")
        if rows and rows[0][0] == "succeeded":
            return dict(json.loads(rows[0][1]))
        assert not rows or rows[0][0] in ("queued", "running"), rows
        terminal.read(0.2)
    raise AssertionError(f"no {kind} has ended: {rows}; the screen:\n{terminal.received[-3000:]!r}")


def press(terminal: Terminal, keys: str, *words: str) -> None:
    """Type, and wait until all of `words` have been drawn since."""
    since = len(terminal.received)
    terminal.press(keys)
    shown(terminal, since, *words)


def shown(terminal: Terminal, since: int, *words: str) -> None:
    """Wait until all of `words` have been drawn after the byte `since` of what the terminal received."""
    deadline = time.monotonic() + _PATIENCE_S
    drawn = ""
    while time.monotonic() < deadline:
        drawn = without_own_sequences(terminal.received[since:]).decode("utf-8", "replace")
        if all(word in drawn for word in words):
            return
        terminal.read(0.2)
    raise AssertionError(f"{words} did not come up; what was drawn:\n{drawn[-3000:]}")


def strongest_feature(directory: Path) -> str:
    """The feature of the graph with the largest predicted effect."""
    sql = """SELECT layer, feature, position FROM node WHERE kind = 'feature'
        ORDER BY abs(predicted_effect) DESC LIMIT 1"""
    ((layer, feature, position),) = asked(directory, sql)
    return f"L{layer}/{feature}@{position}"


def signed(value: float) -> str:
    """As it stands on the screen."""
    return f"{'−' if value < 0 else '+'}{abs(value):.3f}"


def test_given_an_empty_project_when_a_prompt_is_typed_traced_and_ablated_then_all_is_there_after_a_restart(
    empty_directory: Path,
) -> None:
    open_app = workbench("--project", str(empty_directory), "open")
    try:
        with Terminal(open_app, 140, 44, {"OMP_NUM_THREADS": "1"}) as terminal:
            feature, change = _from_prompt_to_effect(empty_directory, terminal)
        with Terminal(open_app, 140, 44) as terminal:
            shown(terminal, 0, f"ablate {feature}", change, "KL(before‖after)")
            press(terminal, "h", "intervention 1, job")
            press(terminal, "3", feature.partition("@")[0])
            press(terminal, "1", PROMPT.replace(" ", ""), "explains")  # the heat strip, the graph that was traced
            terminal.press(CTRL_Q)
            assert terminal.ended() == 0
    finally:
        subprocess.run(workbench("--project", str(empty_directory), "worker", "stop"), check=False, capture_output=True)


def _from_prompt_to_effect(directory: Path, terminal: Terminal) -> tuple[str, str]:
    """What a person types; the feature that was ablated, and the change as it stands on the screen."""
    shown(terminal, 0, "Baselines", "worker up")
    press(terminal, "n", "Run a prompt")
    since = len(terminal.received)
    terminal.press(PROMPT + ENTER)
    job_done(directory, "baseline", terminal)
    shown(terminal, since, "next token, p", "t traces it")
    press(terminal, "t", "trace with neurons")
    since = len(terminal.received)
    terminal.press(ENTER)
    job_done(directory, "trace", terminal)
    feature = strongest_feature(directory)
    shown(terminal, since, "replacement")
    press(terminal, RIGHT + RIGHT + "/", "node")
    terminal.press(feature + ENTER)
    time.sleep(1.0)
    press(terminal, "a", f"ablate {feature}", "predicted")
    since = len(terminal.received)
    terminal.press("r")
    found = job_done(directory, "intervene", terminal)
    means = [found[side]["logit"] - found[side]["mean_logit"] for side in ("baseline", "outcome")]
    change = signed(means[1] - means[0])
    shown(terminal, since, change)
    press(terminal, "!", "kept")
    time.sleep(1.0)
    terminal.press(CTRL_Q)
    assert terminal.ended() == 0
    assert asked(directory, "SELECT count(*) FROM finding") == [(1,)]
    return feature, change
