"""A project on a file system that refuses WAL: only the worker writes, and everything is done through it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import database
from store.project import Project
from tests.workbench.command_line import workbench
from tests.workbench.worker.conftest import job_of, new_project, texts, wait_for_state
from tests.workbench.worker.scripted_worker import running_worker
from tests.workbench.worker.test_running_jobs import detached, scripted, wait_for_step


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Such a project, with a worker on it. A client that opens it for writing fails."""
    with monkeypatch.context() as refused:
        refused.setattr(database, "_wal_works", lambda _directory: False)
        directory = new_project(tmp_path / "project")
    with running_worker(directory, refuse_wal=True):
        opened = Project.open.__func__  # type: ignore[attr-defined]

        def reading(cls: type[Project], place: Path, write: bool, work: bool = True) -> Project:
            assert not write, "a client writes"
            project: Project = opened(cls, place, write, work)
            return project

        monkeypatch.setattr(Project, "open", classmethod(reading))
        yield directory


def test_given_no_wal_when_a_client_asks_for_work_then_the_supervisor_writes_every_row(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--project", str(shared), "jobs")
    with Project.open(shared, write=False) as project:
        assert project.db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    ended = json.loads(scripted(capsys, shared, "--steps", "3", "--json").out)
    assert ended["steps"] == 3
    running = detached(capsys, shared, "--steps", "10000", "--step-s", "0.02")
    wait_for_step(shared, running)
    waiting = [detached(capsys, shared) for _ in range(2)]
    moved = workbench(capsys, *words, "move", str(waiting[1]), "--first", "--json")
    assert json.loads(moved.out) == {"queue": waiting[::-1]}
    assert workbench(capsys, *words, "cancel", str(waiting[0])).out == "cancelled\n"
    assert workbench(capsys, *words, "cancel", str(running)).out == "cancelling\n"
    wait_for_state(shared, running, "cancelled")
    wait_for_state(shared, waiting[1], "succeeded")
    again = json.loads(workbench(capsys, *words, "retry", str(ended["job"]), "--json").out)["job"]
    assert wait_for_state(shared, again, "succeeded").params == job_of(shared, ended["job"]).params
    assert texts(shared, again, "origin") == texts(shared, ended["job"], "origin")
    assert not (shared / "project.db-wal").exists()


def test_given_no_wal_and_a_worker_of_another_node_when_a_client_wants_to_note_then_it_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database, "_wal_works", lambda _directory: False)
    directory = new_project(tmp_path / "project")
    (directory / "project.lock").write_text("process 12 on node7\n", encoding="utf-8")
    ran = scripted(capsys, directory, "--detach")
    assert (ran.exit_code, ran.out) == (1, "")
    assert "is being written by process 12 on node7; run this command on that node" in ran.err
