"""SIGKILL at random moments loses nothing that was acknowledged (SAFETY.md, "Nothing lost")."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 12


def test_a_writer_killed_at_random_moments_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "tests.store.kill_loop", str(tmp_path), str(SECONDS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10 * SECONDS)
    figures = json.loads(ended.stdout)
    with capsys.disabled():
        print(f"\nkilled writer: {figures}")
    assert figures.pop("kills") >= 10
    assert figures.pop("acknowledged") >= 10
    assert figures == {}, ended.stdout
