"""A short run of `make torture`: SIGKILL at random moments loses nothing that was acknowledged."""

import json
import subprocess
import sys

import pytest

_HITS = "while "


@pytest.mark.parametrize(("sort", "kills", "seconds"), [("scripted", 10, 25.0), ("real", 2, 20.0)])
def test_given_a_worker_when_it_and_its_child_are_killed_at_random_then_nothing_acknowledged_is_lost(
    sort: str, kills: int, seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "tests.workbench.worker.torture", str(kills), str(seconds), sort]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20 * seconds)
    figures = json.loads(ended.stdout)
    with capsys.disabled():
        print(f"\nkilled worker and child, {sort} jobs: {figures}")
    assert figures.pop("kills") >= 1
    assert figures.pop("queued") >= 1
    figures.pop("succeeded", None)
    figures.pop("longest restart_s")
    assert [name for name in figures if not name.startswith(_HITS)] == [], ended.stdout
