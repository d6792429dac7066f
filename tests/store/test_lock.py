"""One process works on a project, on this node or on another; others may note rows meanwhile."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import lock
from store.errors import BadInput, WorkbenchError
from store.lock import LOCK_NAME, SILENT_AFTER_S, WriteLock, held_on_other_node
from store.project import Project

_ELSEWHERE = "process 12 on another-node\n"


def _left_by_another_node(directory: Path, silent_s: float) -> None:
    """The lock's file as a holder on another node touched it that long ago."""
    path = directory / LOCK_NAME
    path.write_text(_ELSEWHERE, encoding="utf-8")
    os.utime(path, (time.time() - silent_s, time.time() - silent_s))


def test_given_a_holder_on_another_node_when_it_was_heard_lately_then_it_is_named(tmp_path: Path) -> None:
    _left_by_another_node(tmp_path, 10)
    refusal = r"is being written by process 12 on another-node; stop it there; if it has died, try again in (\d+) s"
    with pytest.raises(WorkbenchError, match=refusal) as raised:
        WriteLock.take(tmp_path)
    told = re.search(refusal, str(raised.value))
    assert told is not None
    assert abs(int(told[1]) - (SILENT_AFTER_S - 10)) <= 2
    assert held_on_other_node(tmp_path) == "process 12 on another-node"
    assert (tmp_path / LOCK_NAME).read_text(encoding="utf-8") == _ELSEWHERE


def test_given_a_holder_on_another_node_when_it_has_been_silent_then_the_lock_is_taken(tmp_path: Path) -> None:
    _left_by_another_node(tmp_path, SILENT_AFTER_S + 1)
    assert held_on_other_node(tmp_path) is None
    WriteLock.take(tmp_path).release()


def test_given_a_dead_holder_on_this_node_when_taken_then_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(f"process 12 on {socket.gethostname()}\n", encoding="utf-8")
    WriteLock.take(tmp_path).release()


def test_given_a_held_lock_when_time_passes_then_it_is_touched_and_after_its_release_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SECONDS_BETWEEN_BEATS", 0.01)
    held = WriteLock.take(tmp_path)
    path = tmp_path / LOCK_NAME
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 30
    while path.stat().st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    held.release()
    held.release()
    assert path.read_text(encoding="utf-8") == ""
    os.utime(path, (0, 0))
    time.sleep(0.1)
    assert path.stat().st_mtime == 0


def test_given_a_clock_step_when_the_age_is_told_then_only_the_disks_clock_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _left_by_another_node(tmp_path, 10)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert held_on_other_node(tmp_path) is not None


def test_given_a_child_with_the_descriptor_when_the_parent_lets_go_then_the_lock_is_still_held(tmp_path: Path) -> None:
    held = WriteLock.take(tmp_path)
    waits = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, pass_fds=[held.descriptor]) as child:
        held.release()
        with pytest.raises(WorkbenchError, match="is being written by another process"):
            WriteLock.take(tmp_path)
        child.communicate(b"")
    WriteLock.take(tmp_path).release()


def test_given_a_worker_when_a_label_is_noted_then_it_is_kept_and_work_is_refused(project: Project) -> None:
    with Project.open(project.directory, write=True, work=False) as noting:
        with noting.transaction():
            noting.db.execute("INSERT INTO ui_state VALUES ('pane', '1')")
        assert noting.lock is None
        with pytest.raises(WorkbenchError, match="is being written by"):
            Project.open(project.directory, write=True)
    assert project.db.execute("SELECT value FROM ui_state").fetchone() == ("1",)


def test_given_a_network_file_system_when_another_node_works_then_notes_are_refused_with_its_name(
    project: Project,
) -> None:
    project.close()
    with Project.open(project.directory, write=True) as working:
        working.db.execute("PRAGMA journal_mode = DELETE")
    _left_by_another_node(project.directory, 1)
    with pytest.raises(WorkbenchError, match="is being written by process 12 on another-node; run this command on"):
        Project.open(project.directory, write=True, work=False)
    Project.open(project.directory, write=False).close()
    with pytest.raises(BadInput, match="cannot be written"):
        WriteLock.take(project.directory / "not there")
