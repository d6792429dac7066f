"""A short run of `make torture`: SIGKILL at random moments loses nothing that was acknowledged."""

import json
import subprocess
import sys

import pytest

_KILLS, _SECONDS = 10, 25.0


def test_given_a_worker_when_it_and_its_child_are_killed_at_random_then_nothing_acknowledged_is_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [sys.executable, "-m", "tests.workbench.worker.torture", str(_KILLS), str(_SECONDS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20 * _SECONDS)
    figures = json.loads(ended.stdout)
    with capsys.disabled():
        print(f"\nkilled worker and child: {figures}")
    assert figures.pop("kills") >= 1
    assert figures.pop("queued") >= 4
    figures.pop("succeeded", None)
    figures.pop("longest restart_s")
    assert figures == {}, ended.stdout
