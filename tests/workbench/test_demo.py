"""The demo's frame: its steps are real commands, they run in order, and its report says what the numbers mean."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from store.errors import Cancelled
from store.project import Project
from tasks.context import Context, SilentProgress
from tasks.demo import EMBEDDED, Done, Options, Step, demo_steps, run_steps
from tasks.registry import TASKS, task
from tests.workbench.command_line import workbench
from tests.workbench.render.golden import assert_golden
from tests.workbench.test_documentation import parse
from tests.workbench.test_project_commands import MODEL
from workbench.cli.demo import step_command
from workbench.tui.render.demo_report import circuit_verdict, section
from workbench.tui.render.report import continued, report_view

DOCUMENTS: dict[str, dict[str, Any]] = {
    "capture": {"capture": 1, "train_tokens": 900, "validation_tokens": 100, "bytes": 5_000_000, "layers": [2, 7]},
    "trace neurons": {"graph": 1},
    "trace SAEs": {"graph": 2},
}


@pytest.mark.parametrize("step", demo_steps(Path("demo")), ids=lambda step: step.name)
def test_given_a_step_of_the_demo_when_its_command_is_printed_then_it_parses(step: Step) -> None:
    options = step.options(DOCUMENTS)
    if step.action is None:
        done = Done(step, task(step.kind).params_type(**options), (), {})
    else:
        done = Done(step, None, (*step.kind.split(), *map(str, options.values())), {})
    parse(shlex.split(step_command(done, Path("demo")))[1:])


def test_given_the_demo_when_its_steps_are_counted_then_every_deliverable_is_among_them() -> None:
    kinds = {step.kind for step in demo_steps(Path("demo"))}
    assert kinds >= {kind for kind, entry in TASKS.items() if not entry.group} - {"intervene", "reproduce"}
    assert kinds >= {"features search", "verify"}


def make_step(name: str, seen: list[str]) -> Step:
    """A step that only says that it ran."""

    def act(context: Context, options: Options) -> dict[str, Any]:
        context.check()
        seen.append(name)
        return {"after": sorted(options["before"])}

    return Step(name, "features search", name, 1.0, lambda documents: {"before": [*documents]}, act)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A context on an empty project."""
    return Context(Project.create(tmp_path / "p", MODEL, "test"), SilentProgress())


def test_given_steps_when_run_then_each_sees_the_documents_of_those_before_it(context: Context) -> None:
    seen: list[str] = []
    steps = (make_step("a", seen), make_step("b", seen), make_step("c", seen))
    documents = [done.document for done in run_steps(steps, context)]
    assert seen == ["a", "b", "c"]
    assert documents == [{"after": []}, {"after": ["a"]}, {"after": ["a", "b"]}]


def test_given_a_stop_between_steps_when_run_then_what_was_done_has_been_handed_out(context: Context) -> None:
    seen: list[str] = []
    path = run_steps((make_step("a", seen), make_step("b", seen)), context)
    assert next(path).step.name == "a"
    context.cancelled.set()
    with pytest.raises(Cancelled):
        next(path)
    assert seen == ["a"]


def test_given_a_project_on_another_model_when_the_demo_is_pointed_at_it_then_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Project.create(tmp_path / "p", MODEL, "test").close()
    ran = workbench(capsys, "demo", str(tmp_path / "p"))
    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err == (
        f"workbench: the project in {tmp_path / 'p'} is on {MODEL.spec}; give the demo a directory of its own\n"
    )


def test_given_the_embedded_model_when_named_by_the_demo_then_it_is_the_one_that_the_sources_know() -> None:
    from tasks.model.embedded import EMBEDDED_SPEC

    assert EMBEDDED == EMBEDDED_SPEC


@pytest.mark.parametrize(("faithfulness", "faithful"), [(0.9, True), (0.3, False), (1.5, False), (-0.2, False)])
def test_given_a_circuits_faithfulness_when_judged_then_bad_is_called_bad(faithfulness: float, faithful: bool) -> None:
    assert circuit_verdict(faithfulness).startswith("not faithful") != faithful


@given(st.lists(st.text(st.characters(categories=["L", "P", "Zs"]), min_size=1), min_size=1), st.integers(20, 100))
def test_given_a_long_command_when_continued_over_lines_then_a_shell_reads_the_same_words(
    words: list[str], width: int
) -> None:
    lines = continued(shlex.join(words), width)
    assert shlex.split("\n".join(lines).removeprefix("$ ").replace("\\\n", "")) == words
    assert all(cell_len(line) <= width for line in lines if len(shlex.split(line.rstrip("\\"))) > 2)


@pytest.mark.parametrize("width", [80, 160])
def test_given_documents_when_reported_then_every_number_has_its_unit_and_its_command(width: int) -> None:
    train = {
        "seconds": 71.5,
        "layers": [
            {"n_features": 2048, "l0": 32.0, "fvu": 0.21, "dead_share": 0.01},
            {"n_features": 2048, "l0": 31.5, "fvu": 0.35, "dead_share": 0.02},
        ],
    }
    validate = {
        "nodes": [{}] * 40,
        "pearson_predicted": 0.973,
        "pearson_influence": 0.41,
        "controls": {"n": 40, "of_kept_features": 0.21, "mean_absolute_effect": 0.0031},
        "faithfulness": 0.35,
        "completeness": 0.1,
        "swaps": {"pearson": 0.95},
    }
    verify = {
        "files": 30,
        "numbers": 900,
        "moved": 1,
        "verified": False,
        "tolerance": {"absolute": 0.001, "relative": 0.01},
    }
    sections = [
        section("capture", "capture", "workbench --project demo capture", DOCUMENTS["capture"]),
        section("train", "train", "workbench --project demo train --capture 1", train),
        section("validate", "validate", "workbench --project demo validate 1", validate),
        section("verify", "verify", "workbench --project demo verify demo/demo.zip", verify),
    ]
    assert_golden("report", report_view("workbench demo", sections, ["this run took 8 min 05 s"], width), width)
