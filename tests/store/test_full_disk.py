"""A full disk stops the job, not the project (SAFETY.md, "Nothing lost")."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MOUNT_AND_RUN = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" -m tests.store.full_disk "$1"'
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def test_a_full_disk_stops_the_job_and_not_the_project(tmp_path: Path) -> None:
    if subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("this machine does not let a test mount a small file system")
    command = [*UNSHARE, "sh", "-c", MOUNT_AND_RUN, "sh", str(tmp_path), sys.executable]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    left = json.loads(ended.stdout)
    assert left["said"].startswith("no room left on the disk of")
    *before, resumed = left["states"]
    if before[-1] == "failed":  # else there was no room even for the job's row
        before.pop()
    assert len(before) > 1 and set(before) == {"succeeded"}
    assert resumed == "succeeded"
    assert left["integrity"] == "ok"
