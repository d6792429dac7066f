"""While a job uses the model: its memory is estimated and measured, it can be stopped, and what is short is told."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from store import jobs
from store.errors import Cancelled, WorkbenchError
from store.job_memory import JobMemory, memory_of
from store.project import Project
from tasks import memory_estimates
from tasks.context import Context, SilentProgress
from tasks.execute import execute
from tasks.memory_use import host_memory_bytes
from tasks.params import Params as TaskParams
from tasks.params import option
from tasks.registry import TASKS, Task
from tests.store.conftest import MODEL
from tests.tiny import tiny_language_model

MIB = 1 << 20
ESTIMATE = 70 * MIB


class Params(TaskParams):
    """What the task does with the model."""

    does: Literal["nothing", "takes", "lacks", "is stopped", "warns"] = option("takes", "what")


class Result:
    """Nothing to keep."""

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows."""
        return {}


def run(params: Params, context: Context) -> Result:
    """Take 64 MiB, or what was asked for."""
    if params.does == "nothing":
        return Result()
    model = context.model
    if params.does == "takes":
        torch.ones(64 * MIB // 4)
    if params.does == "lacks":
        raise WorkbenchError("no room for one row", "free some") from MemoryError("no")
    if params.does == "is stopped":
        context.cancelled.set()
        model.logits(model.token_tensor([1, 2, 3]))
    if params.does == "warns":
        for _ in range(2):
            logging.getLogger("workbench.tasks").warning("a batch of %d does not fit", 8)
    return Result()


class Notes(SilentProgress):
    """Keeps what is narrated."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A project, the tiny model, and a task of which 70 MiB are expected."""
    monkeypatch.setitem(TASKS, "greedy", Task("greedy", "For tests.", __name__))
    monkeypatch.setitem(memory_estimates._FORMULAS, "greedy", lambda _params, _project, _model: ESTIMATE)
    with Project.create(tmp_path / "project", MODEL, "0.1.0") as project:
        yield Context(project, Notes(), _model=tiny_language_model("llama"))


def memory(context: Context) -> JobMemory:
    """What is known of the newest job's memory."""
    return memory_of(context.project.db, jobs.last_id(context.project.db))


def test_given_a_job_that_takes_memory_when_it_has_run_then_its_peak_is_beside_the_estimate(context: Context) -> None:
    execute("greedy", Params(), context)
    found = memory(context)
    assert found.estimated_bytes == ESTIMATE
    assert found.peak_bytes is not None
    assert 63 * MIB <= found.peak_bytes <= 80 * MIB


def test_given_a_second_job_when_it_takes_what_the_first_gave_back_then_its_peak_is_its_own(context: Context) -> None:
    for _ in range(2):
        execute("greedy", Params(), context)
    assert 63 * MIB <= (memory(context).peak_bytes or 0) <= 80 * MIB


def test_given_no_formula_when_run_then_no_estimate_is_made_up(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(memory_estimates._FORMULAS, "greedy")
    execute("greedy", Params(), context)
    assert memory(context).estimated_bytes is None
    assert memory(context).peak_bytes is not None


def test_given_a_job_that_needs_no_model_when_run_then_nothing_is_said_of_its_memory(context: Context) -> None:
    execute("greedy", Params(does="nothing"), context)
    assert memory(context) == JobMemory()


def test_given_a_lack_of_memory_when_a_job_fails_then_the_line_names_what_was_expected(context: Context) -> None:
    with pytest.raises(WorkbenchError) as told:
        execute("greedy", Params(does="lacks"), context)
    line = "out of memory (no room for one row, 0.07 GiB beside the model expected); free some"
    assert str(told.value) == line
    job = jobs.listing(context.project.db)[0]
    assert (job.state, job.error) == ("failed", line)
    assert memory(context).peak_bytes is not None


def test_given_a_request_to_stop_when_the_model_runs_then_the_job_ends_inside_the_pass(context: Context) -> None:
    with pytest.raises(Cancelled):
        execute("greedy", Params(does="is stopped"), context)
    assert jobs.listing(context.project.db)[0].state == "cancelled"
    context.model.logits(context.model.token_tensor([1, 2, 3]))  # nobody listens any more


def test_given_batches_that_do_not_fit_when_a_job_runs_then_the_person_hears_of_it_once(context: Context) -> None:
    execute("greedy", Params(does="warns"), context)
    assert isinstance(context.progress, Notes)
    assert context.progress.said == ["a batch of 8 does not fit"]
    assert logging.getLogger("workbench.tasks").handlers == []


def test_given_an_allocation_with_a_limit_when_asked_then_the_hosts_memory_is_that(tmp_path: Path) -> None:
    everything = host_memory_bytes(tmp_path / "nothing")
    assert everything > 1 << 28
    (tmp_path / "memory.max").write_text("1048576\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("1048576\n")
    assert host_memory_bytes(tmp_path) == 1048576
    for limit in (tmp_path / "memory.max", tmp_path / "memory" / "memory.limit_in_bytes"):
        limit.write_text("max\n")
    assert host_memory_bytes(tmp_path) == everything
