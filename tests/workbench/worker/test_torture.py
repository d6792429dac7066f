"""A short run of `make torture`: SIGKILL at random moments loses nothing that was acknowledged."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.registry import TASKS
from tests.workbench.worker.real_jobs import RealJobs
from tests.workbench.worker.torture import LOSSES

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
    assert {name: n for name, n in figures.items() if not name.startswith(_HITS)} == dict.fromkeys(LOSSES, 0)


def test_given_every_kind_of_task_when_jobs_are_drawn_then_each_is_among_them(tmp_path: Path) -> None:
    real = RealJobs(tmp_path)
    for kind in TASKS.keys() - {"scripted"}:
        assert real.draw(random.Random(0), 0, kind)[0] == kind
