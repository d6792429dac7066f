"""A real model in a real worker: what stays in memory between jobs, and what a job took."""

import json
from pathlib import Path

import pytest

from tests.tasks.graph_project import PROMPT, create
from tests.workbench.command_line import workbench
from tests.workbench.worker.conftest import job_of, wait_for_state, wait_until
from tests.workbench.worker.scripted_worker import running_worker
from workbench.worker.client import WorkerClient

_TRACE = ("trace", PROMPT, "--max-nodes", "40", "--dictionary", "toy", "--json")


@pytest.mark.parametrize(("memory_bytes", "kept"), [(1 << 30, True), (1000, False)])
def test_given_a_budget_when_a_set_was_used_then_status_says_whether_it_stayed_and_jobs_what_they_took(
    tmp_path: Path, memory_bytes: int, kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    create(tmp_path).close()
    words = ("--project", str(tmp_path / "project"))
    with running_worker(tmp_path / "project", memory_bytes=memory_bytes):
        first = workbench(capsys, *words, *_TRACE)
        status = json.loads(workbench(capsys, *words, "worker", "status", "--json").out)
        again = json.loads(workbench(capsys, *words, *_TRACE).out)
        text = workbench(capsys, *words, "worker", "status").out
    document = json.loads(first.out)
    own = ("job", "graph", "seconds")
    assert {**again, **{name: document[name] for name in own}} == document
    assert ("the set toy takes" in first.err) == (not kept)
    resident = status["resident"]
    assert (resident["model"], resident["budget_bytes"]) == (str(tmp_path / "model"), memory_bytes)
    assert [each["name"] for each in resident["dictionaries"]] == (["toy"] if kept else [])
    assert ("toy" in text) == kept
    assert status["memory"]["host_bytes"] > 1e8
    shown = json.loads(workbench(capsys, *words, "jobs", "show", str(document["job"]), "--json").out)
    assert shown["memory"]["estimated_bytes"] > 0
    assert shown["memory"]["peak_bytes"] > 0
    assert "memory expected" in workbench(capsys, *words, "jobs", "show", str(document["job"])).out


def test_given_a_first_job_when_it_runs_then_status_tells_what_it_brought_into_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(tmp_path).close()
    directory = tmp_path / "project"
    with running_worker(directory, memory_bytes=1 << 30):
        evaluate = ("evaluate", "--dictionary", "toy", "--tokens", "200000", "--detach", "--json")
        job_id = json.loads(workbench(capsys, "--project", str(directory), *evaluate).out)["job"]
        with WorkerClient.require(directory) as client:

            def told() -> bool:
                status = client.ask("status")
                assert job_of(directory, job_id).finished_at is None, "it runs for as long as this needs"
                held = status["resident"]
                return bool(status["running"] and held["model"] and held["dictionaries"] and held["budget_bytes"])

            wait_until(told, "the model and the set are resident while the job runs")
            client.ask("cancel", job=job_id)
        wait_for_state(directory, job_id, "cancelled")


@pytest.mark.parametrize("size", ["8 bananas", "", "-1GiB", "1e9"])
def test_given_a_size_that_is_none_when_a_worker_is_started_then_one_line_says_how_to_write_it(
    tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create(tmp_path).close()
    ran = workbench(capsys, "--project", str(tmp_path / "project"), "worker", "start", "--memory", size)
    assert (ran.exit_code, ran.out) == (2, "")
    assert f"{size!r} is no size of memory; write it as 8GiB, 500MB or 0" in ran.err


@pytest.mark.parametrize(
    ("size", "n_bytes"),
    [("8GiB", 8 << 30), ("500MB", 500_000_000), ("1.5 kB", 1500), ("0", 0), ("12", 12), ("2T", 2 * 10**12)],
)
def test_given_a_size_when_read_then_it_is_in_bytes(size: str, n_bytes: int) -> None:
    from workbench.cli.worker import _bytes

    assert _bytes(size) == n_bytes
