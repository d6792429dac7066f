"""Jobs in a running worker: what a person at the command line sees is what the foreground would have shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from store import jobs
from store.project import Project
from tests.workbench.command_line import Ran, workbench
from tests.workbench.worker.conftest import job_of, new_project, texts, wait_for_state, wait_until
from workbench.worker.client import WorkerClient


def scripted(capsys: pytest.CaptureFixture[str], directory: Path, *words: str) -> Ran:
    """Run `workbench scripted` on that project."""
    return workbench(capsys, "--project", str(directory), "scripted", *words)


def detached(capsys: pytest.CaptureFixture[str], directory: Path, *words: str) -> int:
    """The id of a job that is queued and not waited for."""
    ran = scripted(capsys, directory, *words, "--detach", "--json")
    assert ran.exit_code == 0, ran.err
    job_id = json.loads(ran.out)["job"]
    assert isinstance(job_id, int)
    return job_id


def wait_for_step(directory: Path, job_id: int) -> None:
    """Wait until a job is in one of its steps."""

    def in_step() -> bool:
        running = client.ask("status")["running"]
        return running is not None and running["id"] == job_id and bool(running["stages"])

    with WorkerClient.require(directory) as client:
        wait_until(in_step, f"job {job_id} has begun a step")


def test_given_a_worker_when_a_task_runs_then_the_document_is_that_of_the_foreground(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = scripted(capsys, served, "--steps", "3", "--loud", "hello \x1b[2J", "--json")
    here = scripted(capsys, new_project(tmp_path / "other"), "--steps", "3", "--loud", "hello \x1b[2J", "--json")
    assert (ran.exit_code, here.exit_code) == (0, 0)
    ours, theirs = json.loads(here.out), json.loads(ran.out)
    changing = {"job", "seconds", "pid", "stored"}
    assert {key: theirs[key] for key in theirs if key not in changing} == {"steps": 3, "pair": [1, 2.5]}
    assert list(ours) == list(theirs)
    assert theirs["pid"] != os.getpid() == ours["pid"]
    assert f"job {theirs['job']} runs in the worker (process " in ran.err
    assert "hello " in ran.err
    assert "\x1b" not in ran.err
    assert "hello \x1b[2J" in (served / "logs" / f"job-{theirs['job']}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fails", "exit_code", "line"),
    [
        ("bad input", 2, "layer 99 is out of range; the model has layers 0 to 2"),
        ("work", 1, "the loss is not finite; lower the learning rate"),
        ("memory", 1, "out of memory (no memory); take fewer layers, tokens or nodes, or a smaller batch"),
        ("bug", 1, "ZeroDivisionError: division by zero (a fault of the workbench; details: "),
    ],
)
def test_given_a_task_that_fails_in_the_worker_then_line_and_exit_code_are_those_of_the_foreground(
    served: Path, fails: str, exit_code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = scripted(capsys, served, "--fails", fails)
    assert (ran.exit_code, ran.out) == (exit_code, "")
    last = ran.err.splitlines()[-1]
    assert last.startswith(f"workbench: {line}")
    if fails == "bug":
        assert "Traceback" in Path(last.rsplit("details: ", 1)[1].rstrip(")")).read_text(encoding="utf-8")
    assert scripted(capsys, served).exit_code == 0  # the child goes on


def test_given_bad_options_when_a_worker_runs_then_nothing_is_queued(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Project.open(served, write=False) as project:
        before = jobs.last_id(project.db)
        assert scripted(capsys, served, "--steps", "-1", "--detach").exit_code == 2
        assert jobs.last_id(project.db) == before


def test_given_a_relative_path_when_the_worker_writes_there_then_it_starts_where_the_person_stood(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scripted(capsys, served, "--file", "out.txt").exit_code == 0
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "written"


def test_given_a_directory_whose_name_is_no_text_when_a_job_is_queued_there_then_one_line_says_so(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff"))
    directory.mkdir()
    monkeypatch.chdir(directory)
    for words in (["--detach"], []):
        ran = scripted(capsys, served, *words)
        assert (ran.exit_code, ran.out) == (2, "")
        assert "is not UTF-8" in ran.err
        assert ran.err.count("\n") == 1


def test_given_a_row_without_a_doorbell_when_the_worker_looks_then_it_runs(served: Path) -> None:
    with Project.open(served, write=True, work=False) as project:
        job_id = jobs.submit(project.db, "scripted", "{}", "key")
    assert wait_for_state(served, job_id, "succeeded").result


def test_given_params_that_the_task_does_not_take_when_run_then_the_job_fails_in_one_line(served: Path) -> None:
    with Project.open(served, write=True, work=False) as project:
        job_id = jobs.submit(project.db, "scripted", '{"nonsense": 1}', "key")
        unknown = jobs.submit(project.db, "unheard of", "{}", "key")
    line = wait_for_state(served, job_id, "failed").error
    assert line and f"job {job_id} has params that scripted does not take" in line
    assert "no task named 'unheard of'" in (wait_for_state(served, unknown, "failed").error or "")


def test_given_a_running_job_when_asked_then_status_tells_it_and_the_queue(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = detached(capsys, served, "--steps", "1000", "--step-s", "0.05")
    waiting = detached(capsys, served)
    wait_for_state(served, running, "running")
    with WorkerClient.require(served) as client:
        wait_until(lambda: bool(client.ask("status")["running"]["stages"]), "progress is told")
        document = client.ask("status")
        assert document["running"]["id"] == running
        assert document["running"]["stages"][0]["label"] == "steps"
        assert [(job["id"], job["position"]) for job in document["queue"]] == [(waiting, 1)]
        assert document["memory"]["host_bytes"] > 1e6
        assert client.ask("cancel", job=waiting)["state"] == "cancelled"
        with pytest.raises(Exception, match=f"job {running} is running; wait for it, or cancel it"):
            client.ask("unload")
        client.ask("cancel", job=running)
    assert wait_for_state(served, running, "cancelled").progress < 1
    assert job_of(served, waiting).error == "cancelled before it started"


@pytest.mark.parametrize(
    ("deaf", "steps", "same_child"),
    [("", [], True), ("cancel", ["SIGINT"], False), ("swallow", ["SIGINT"], False),
     ("interrupt", ["SIGINT", "SIGTERM"], False),
     ("terminate", ["SIGINT", "SIGTERM", "SIGKILL"], False)],
)  # fmt: skip
def test_given_a_job_that_does_not_listen_when_cancelled_then_each_harder_step_is_told(
    served: Path, deaf: str, steps: list[str], same_child: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads(scripted(capsys, served, "--json").out)["pid"]
    job_id = detached(capsys, served, "--steps", "3" if deaf else "1000", "--step-s", "60" if deaf else "0.02",
                      "--deaf", deaf)  # fmt: skip
    wait_for_step(served, job_id)
    ran = workbench(capsys, "--project", str(served), "jobs", "cancel", str(job_id))
    assert (ran.exit_code, ran.out) == (0, "cancelling\n")
    wait_for_state(served, job_id, "cancelled")
    told = texts(served, job_id, "cancel")
    assert told[0] == "it is asked to stop after this step"
    assert [next(name for name in ("SIGINT", "SIGTERM", "SIGKILL") if name in text) for text in told[1:]] == steps
    assert texts(served, job_id, "state") == ["queued", "running", "cancelling", "cancelled"]
    after = json.loads(scripted(capsys, served, "--json").out)["pid"]
    assert (after == before) == same_child


def test_given_jobs_that_cannot_be_cancelled_or_retried_when_asked_then_one_line_says_why(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = json.loads(scripted(capsys, served, "--json").out)["job"]
    for words, exit_code, line in (
        (("cancel", str(ended)), 2, f"job {ended} has ended already (succeeded)"),
        (("cancel", "99999"), 3, "no job 99999 in this project"),
        (("retry", "99999"), 3, "no job 99999 in this project"),
        (("show", "99999999999999999999"), 3, "no job 99999999999999999999 in this project"),
        (("cancel", "99999999999999999999"), 3, "no job 99999999999999999999 in this project"),
    ):
        ran = workbench(capsys, "--project", str(served), "jobs", *words)
        assert (ran.exit_code, ran.out) == (exit_code, "")
        assert line in ran.err
        assert ran.err.count("\n") == 1


def test_given_an_ended_job_when_retried_then_the_same_work_runs_under_a_new_id(
    served: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = json.loads(scripted(capsys, served, "--file", "again.txt", "--json").out)["job"]
    (tmp_path / "again.txt").unlink()
    monkeypatch.chdir("/")
    again = int(workbench(capsys, "--project", str(served), "jobs", "retry", str(first)).out)
    assert again > first
    assert wait_for_state(served, again, "succeeded").params == job_of(served, first).params
    assert (tmp_path / "again.txt").exists()


@pytest.mark.parametrize("presses", [1, 2])
def test_given_a_person_who_waits_when_they_press_ctrl_c_then_once_cancels_and_twice_leaves(
    served: Path, presses: int
) -> None:
    import signal

    deaf = (
        ["--deaf", "cancel", "--steps", "1", "--step-s", "60"]
        if presses == 2
        else ["--steps", "1000", "--step-s", "0.05"]
    )
    command = [sys.executable, "-m", "tests.workbench.worker.scripted_command", "--project", str(served), "scripted"]
    waiting = subprocess.Popen([*command, *deaf], stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    job_id = int(waiting.stderr.readline().split()[1])
    wait_for_step(served, job_id)
    waiting.send_signal(signal.SIGINT)
    assert "being cancelled; once more to leave it" in waiting.stderr.readline()
    if presses == 2:
        waiting.send_signal(signal.SIGINT)
    err = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 130
    assert (f"job {job_id} is left to the worker" in err) == (presses == 2)
    wait_for_state(served, job_id, "cancelled")


@pytest.mark.parametrize(("fails", "same_child"), [("memory", True), ("bug", True), ("device", False)])
def test_given_a_failure_when_the_next_job_runs_then_the_child_is_kept_unless_its_device_is_lost(
    served: Path, fails: str, same_child: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads(scripted(capsys, served, "--json").out)["pid"]
    assert scripted(capsys, served, "--fails", fails).exit_code == 1
    assert (json.loads(scripted(capsys, served, "--json").out)["pid"] == before) == same_child
