"""The command that a report prints gives the same params back when a shell and the parser have read it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.command_line import command_line
from tasks.registry import Task
from tests.workbench.test_task_command import SAMPLE, Sample
from workbench.cli.task_command import checked_params, task_app

_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)
_PARAMS = st.builds(
    Sample,
    prompt=_TEXT,
    tokens=st.integers(1, 10**9),
    threshold=st.floats(0, 1, exclude_min=True),
    kind=st.sampled_from(["topk", "l1"]),
    layers=st.lists(st.integers(0, 40), min_size=1).map(tuple),
    target=st.none() | _TEXT,
    resume=st.booleans(),
    from_=st.none() | _TEXT,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(params=_PARAMS)
def test_given_any_params_when_written_as_a_command_then_it_reads_back_as_the_same_params(
    params: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(Task, "params_type", Sample)
    monkeypatch.setattr("workbench.cli.task_command.run_task", lambda ctx, task, values, *said: seen.update(values))
    words = shlex.split(command_line("sample", params, Path("a b")))
    assert words[:4] == ["workbench", "--project", "a b", "sample"]
    typer.main.get_command(task_app(SAMPLE)).main(words[4:], standalone_mode=False)
    assert checked_params(Sample, seen, "sample") == params


def test_given_defaults_when_written_as_a_command_then_only_what_is_needed_is_said() -> None:
    assert command_line("sample", Sample(prompt="a b"), Path("demo")) == "workbench --project demo sample 'a b'"
