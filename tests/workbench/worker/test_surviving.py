"""What a worker outlives, and what is found after what it does not."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import jobs
from store.errors import WorkbenchError
from store.project import Project
from tests.workbench.command_line import workbench
from tests.workbench.worker.conftest import job_of, texts, wait_for_state, wait_until
from tests.workbench.worker.scripted_worker import first_line, running_worker, start
from tests.workbench.worker.test_running_jobs import detached, scripted
from workbench.worker.client import WorkerClient
from workbench.worker.runtime_directory import address_of

FOR_EVER = ("--steps", "10000", "--step-s", "0.05")


def alive(pid: int) -> bool:
    """Whether a process, or one of its threads, runs: a zombie does not, but its last thread still holds its files."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except FileNotFoundError:
        return False


def child_of(directory: Path) -> int:
    """The process id of the worker's child."""
    with WorkerClient.require(directory) as client:
        [pid] = client.ask("status")["children"]
    assert isinstance(pid, int)
    return pid


def test_given_a_job_when_its_child_is_killed_then_it_is_interrupted_and_the_next_runs_in_another(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_worker(project):
        job_id = detached(capsys, project, *FOR_EVER)
        wait_for_state(project, job_id, "running")
        os.kill(child_of(project), signal.SIGKILL)
        assert "SIGKILL" in (wait_for_state(project, job_id, "interrupted").error or "")
        assert scripted(capsys, project).exit_code == 0
        died = scripted(capsys, project, "--dies", str(int(signal.SIGSEGV)))
        assert died.exit_code == 1
        assert "its process was ended by SIGSEGV; `workbench jobs retry" in died.err


def test_given_a_job_when_the_supervisor_is_killed_then_nothing_stays_running_and_a_new_worker_starts(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start(project)
    assert first_line(worker) == "listens"
    job_id = detached(capsys, project, *FOR_EVER)
    wait_for_state(project, job_id, "running")
    child = child_of(project)
    worker.kill()
    worker.communicate()
    wait_until(lambda: not alive(child), "the child dies with its supervisor")
    assert address_of(project).socket.exists()  # stale
    assert WorkerClient.connect(project) is None
    with running_worker(project):
        assert job_of(project, job_id).state == "interrupted"
        assert scripted(capsys, project).exit_code == 0


def test_given_a_client_that_waits_when_the_worker_dies_then_one_line_says_how_to_go_on(project: Path) -> None:
    command = [sys.executable, "-m", "tests.workbench.worker.scripted_command", "--project", str(project), "scripted"]
    with running_worker(project) as worker:
        waiting = subprocess.Popen([*command, *FOR_EVER], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: _newest(project) == 1, "the job is queued")
        wait_for_state(project, 1, "running")
        worker.kill()
        err = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 1
    assert "the worker has gone and job 1 is running; `workbench worker start`, then" in err.splitlines()[-1]


def _newest(project: Path) -> int:
    with Project.open(project, write=False) as opened:
        return jobs.last_id(opened.db)


def test_given_a_client_that_goes_away_when_its_job_runs_then_the_job_goes_on(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_worker(project):
        job_id = detached(capsys, project, "--steps", "20", "--step-s", "0.05")
        client = WorkerClient.require(project)
        client.ask("subscribe", job=job_id)
        client.close()
        wait_for_state(project, job_id, "succeeded")


def test_given_a_worker_when_its_terminal_hangs_up_then_it_and_its_job_go_on(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_worker(project) as worker:
        job_id = detached(capsys, project, "--steps", "20", "--step-s", "0.05")
        wait_for_state(project, job_id, "running")
        for pid in (worker.pid, child_of(project)):
            os.kill(pid, signal.SIGHUP)
        wait_for_state(project, job_id, "succeeded")
        assert worker.poll() is None


def test_given_a_terminal_that_goes_before_the_worker_has_spoken_when_it_listens_then_it_goes_on(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "workbench", "--project", str(project), "worker", "run"]
    with open("/dev/full", "wb") as nobody_there:
        worker = subprocess.Popen(command, stderr=nobody_there, start_new_session=True)
    try:
        wait_until(lambda: worker.poll() is not None or address_of(project).socket.exists(), "it listens")
        time.sleep(0.5)  # it would end now
        assert worker.poll() is None
        assert workbench(capsys, "--project", str(project), "worker", "status").exit_code == 0
    finally:
        worker.terminate()
        worker.wait()


def test_given_two_starts_at_once_when_both_are_up_then_one_worker_listens_and_one_names_it(project: Path) -> None:
    both = [start(project), start(project)]
    said = {first_line(process): process for process in both}
    listening = said.pop("listens")
    [(line, refused)] = said.items()
    assert line == f"{project} is being written by process {listening.pid} on {socket.gethostname()}; " + (
        "wait for it to end, or stop it"
    )
    assert refused.wait(60) == 1
    listening.terminate()
    listening.communicate()
    refused.communicate()
    assert listening.returncode == 0
    assert not address_of(project).socket.exists()


def test_given_a_worker_when_another_process_wants_to_work_then_it_is_refused_and_notes_are_taken(
    project: Path,
) -> None:
    with running_worker(project) as worker:
        with pytest.raises(WorkbenchError, match=f"is being written by process {worker.pid} on"):
            Project.open(project, write=True)
        with Project.open(project, write=True, work=False) as noting, noting.transaction():
            noting.db.execute("INSERT INTO ui_state VALUES ('pane', '1')")


def test_given_a_child_that_is_stopped_when_its_supervisor_is_killed_then_the_lock_is_free_all_the_same(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = start(project)
    assert first_line(worker) == "listens"
    assert scripted(capsys, project).exit_code == 0  # so that the child has come up
    child = child_of(project)
    os.kill(child, signal.SIGSTOP)
    worker.kill()
    worker.communicate()
    wait_until(lambda: not alive(child), "the child dies, though it was stopped")
    Project.open(project, write=True).close()


def test_given_jobs_from_before_when_a_worker_starts_then_they_wait_and_new_ones_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = scripted(capsys, project, "--detach")
    assert (ran.exit_code, ran.out) == (0, "1\n")
    assert f"job 1 waits for a worker: `workbench --project {project} worker start --resume-queue`" in ran.err
    with running_worker(project):
        assert scripted(capsys, project).exit_code == 0
        assert job_of(project, 1).state == "queued"
        status = workbench(capsys, "--project", str(project), "worker", "status", "--json")
        assert json.loads(status.out)["paused"] == [1]
        assert "1 job waits from before the worker started: `workbench --project" in status.err
        resumed = workbench(capsys, "--project", str(project), "worker", "resume", "--json")
        assert json.loads(resumed.out) == {"queue": [1]}
        wait_for_state(project, 1, "succeeded")


def test_given_jobs_from_before_when_a_worker_starts_with_them_then_they_run_oldest_first(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [detached(capsys, project) for _ in range(3)]
    with running_worker(project, resume_queue=True):
        ended = [wait_for_state(project, job_id, "succeeded").finished_at or "" for job_id in ids]
    assert ended == sorted(ended)


def test_given_a_running_job_when_the_worker_is_stopped_then_it_is_interrupted_and_can_be_retried(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_worker(project) as worker:
        job_id = detached(capsys, project, "--steps", "100", "--step-s", "0.05")
        waiting = detached(capsys, project)
        wait_for_state(project, job_id, "running")
        ran = workbench(capsys, "--project", str(project), "worker", "stop", "--json")
        assert json.loads(ran.out) == {"pid": worker.pid}
        assert worker.wait(60) == 0
    assert (job_of(project, job_id).state, job_of(project, waiting).state) == ("interrupted", "queued")
    assert texts(project, job_id, "cancel") == ["the worker was asked to stop; the job is stopped after this step"]
    ran = workbench(capsys, "--project", str(project), "jobs", "retry", str(job_id), "--json")
    assert json.loads(ran.out) == {"job": waiting + 1}


def test_given_a_project_that_is_moved_when_the_worker_notices_then_it_stops_and_leaves_it_free(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_worker(project) as worker:
        job_id = detached(capsys, project, *FOR_EVER)
        wait_for_state(project, job_id, "running")
        log = address_of(project).log
        moved = project.rename(project.with_name("moved"))
        assert worker.wait(60) == 0
    assert "is not where it was; the worker stops" in log.read_text(encoding="utf-8")
    with Project.open(moved, write=True) as opened:
        assert jobs.show(opened.db, job_id).state == "interrupted"
        assert opened.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_given_the_command_when_a_worker_is_started_twice_then_both_name_the_same_process(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--project", str(project), "worker")
    first = workbench(capsys, *words, "start", "--json")
    try:
        assert first.exit_code == 0, first.err
        second = workbench(capsys, *words, "start")
        pid = json.loads(first.out)["pid"]
        assert (json.loads(first.out)["started"], second.out) == (True, f"{pid}\n")
        assert os.getsid(pid) not in (pid, os.getsid(0))  # a session of its own that it does not lead
        assert f"worker {pid} was running already" in second.err
        child = child_of(project)
        argv = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        assert argv[1:3] == [b"-m", b"workbench.worker.child_process"]
        assert argv[6:] == [str(project).encode(), b""]
        assert "worker" in workbench(capsys, *words, "logs").out
    finally:
        stopped = workbench(capsys, *words, "stop")
    assert stopped.exit_code == 0
    assert not alive(child)
    assert workbench(capsys, *words, "status").exit_code == 3


def test_given_a_child_that_cannot_start_when_a_worker_runs_then_it_answers_and_tries_again(project: Path) -> None:
    with running_worker(project, child="tests.workbench.worker.not_there") as worker:
        time.sleep(1.0)
        with WorkerClient.require(project) as client:
            assert client.ask("status")["running"] is None
        assert worker.poll() is None
