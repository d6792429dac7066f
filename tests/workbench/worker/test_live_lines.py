"""What a subscriber hears of jobs is enough for a live list, whoever queued them and however."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import jobs
from store.project import Project
from tests.workbench.command_line import workbench
from tests.workbench.worker.conftest import texts, wait_for_state
from tests.workbench.worker.test_running_jobs import detached, scripted, wait_for_step
from workbench.worker.client import WorkerClient

KEYS = {"job", "kind", "state", "progress", "label", "left_s"}


def heard_until(client: WorkerClient, enough: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """All lines up to and with the first that is enough."""
    lines: list[dict[str, Any]] = []
    while not lines or not enough(lines[-1]):
        if (line := client.announcement(60)) is not None:
            lines.append(line)
    return lines


def is_state(job_id: int, state: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a line says that a job has come into a state."""
    return lambda line: line.get("event", {}).get("job") == job_id and line["event"]["text"] == state


def test_given_a_job_that_was_queued_directly_when_it_runs_then_every_change_and_its_progress_are_heard(
    served: Path,
) -> None:
    with WorkerClient.require(served) as client:
        client.ask("subscribe", job=0, since=-1)
        with Project.open(served, write=True, work=False) as project:
            job_id = jobs.submit(project.db, "scripted", '{"steps": 20, "step_s": 0.05}', "key")
        lines = heard_until(client, is_state(job_id, "succeeded"))
    mine = [line for line in lines if line.get("about", {}).get("job") == job_id]
    assert [line["event"]["text"] for line in mine if "event" in line and line["event"]["kind"] == "state"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert all(set(line["about"]) == KEYS and line["about"]["kind"] == "scripted" for line in mine)
    running = [line["about"] for line in mine if line.get("progress")]
    assert running
    assert all(about["state"] == "running" and about["label"] == "steps" for about in running)
    assert [about["progress"] for about in running] == sorted(about["progress"] for about in running)
    assert any(0 < about["progress"] < 1 and about["left_s"] > 0 for about in running)
    assert mine[-1]["about"] | {"state": "succeeded", "progress": 1.0, "left_s": None} == mine[-1]["about"]


def test_given_what_happened_before_when_subscribed_from_now_then_only_what_comes_is_heard(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(capsys, served)
    with WorkerClient.require(served) as client:
        newest = client.ask("subscribe", job=0, since=-1)["event"]
        job_id = detached(capsys, served)
        lines = heard_until(client, is_state(job_id, "succeeded"))
    assert {line["event"]["job"] for line in lines if "event" in line} == {job_id}
    assert min(line["event"]["id"] for line in lines if "event" in line) > newest


def test_given_jobs_that_wait_when_moved_then_they_run_in_that_order_and_subscribers_hear_of_it(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--project", str(served), "jobs", "move")
    running = detached(capsys, served, "--steps", "10000", "--step-s", "0.02")
    wait_for_step(served, running)
    a, b, c = (detached(capsys, served) for _ in range(3))
    with WorkerClient.require(served) as client:
        client.ask("subscribe", job=0, since=-1)
        assert workbench(capsys, *words, str(c), "--first").exit_code == 0
        ran = workbench(capsys, *words, str(a), "--after", str(b))
        assert f"taken in this order: {c}, {b}, {a}" in ran.err
        assert [job["id"] for job in client.ask("status")["queue"]] == [c, b, a]
        client.ask("cancel", job=running)
        lines = heard_until(client, is_state(a, "succeeded"))
    moved = [
        (line["event"]["job"], line["event"]["text"]) for line in lines if line.get("event", {}).get("kind") == "moved"
    ]
    assert moved == [(c, "first"), (a, f"after job {b}")]
    ended = [line["event"]["job"] for line in lines if line.get("event", {}).get("text") == "succeeded"]
    assert ended == [c, b, a]
    assert texts(served, c, "moved") == ["first"]


@pytest.mark.parametrize(
    ("words", "exit_code", "line"),
    [
        (("99999", "--first"), 3, "no job 99999 in this project"),
        (("1",), 2, "say where to: one of --first and --after OTHER"),
        (("1", "--first", "--after", "2"), 2, "say where to: one of --first and --after OTHER"),
    ],
)
def test_given_a_move_that_cannot_be_when_asked_then_one_line_says_why(
    served: Path, words: tuple[str, ...], exit_code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(served), "jobs", "move", *words)
    assert (ran.exit_code, ran.out) == (exit_code, "")
    assert line in ran.err
    assert ran.err.count("\n") == 1


def test_given_an_ended_job_when_moved_then_it_is_said_not_to_wait(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = detached(capsys, served)
    wait_for_state(served, job_id, "succeeded")
    ran = workbench(capsys, "--project", str(served), "jobs", "move", str(job_id), "--first")
    assert ran.exit_code == 2
    assert f"job {job_id} does not wait in the queue (succeeded)" in ran.err
