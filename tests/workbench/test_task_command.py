"""A task's options are its params: nothing forgotten, nothing invented, bounds and units said in the help."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, Literal

import pytest
import typer

from store.errors import BadInput
from tasks.command_line import flag, is_argument
from tasks.params import Params, option
from tasks.registry import TASKS, Task
from tests.workbench.command_line import workbench
from workbench.cli.command_list import COMMANDS, load_command
from workbench.cli.task_command import checked_params, help_text, option_type, stop_on_signal, task_app


class Sample(Params):
    """One option of every sort."""

    prompt: str = option(..., "What the model reads.", argument=True)
    tokens: int = option(1000, "Tokens to read.", unit="tokens", ge=1)
    threshold: float = option(0.8, "Share of influence kept.", gt=0, le=1)
    kind: Literal["topk", "l1"] = option("topk", "The objective.")
    layers: tuple[int, ...] = option((3, 5), "Layers.")
    target: str | None = option(None, "The decisive token.")
    resume: bool = option(True, "Go on from the last checkpoint.")
    from_: str | None = option(None, "The corrupt prompt.")


SAMPLE = Task("sample", "For tests.", __name__)


def command_of(task: Task) -> Any:
    """The click command that the task becomes."""
    return typer.main.get_command(task_app(task))


def sample_command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command of `Sample`."""
    monkeypatch.setattr(Task, "params_type", Sample)
    return command_of(SAMPLE)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_given_a_task_when_its_command_is_made_then_options_equal_params(task: Task) -> None:
    made = {p.name: p for p in command_of(task).params if p.name not in {"detach", "json", "help"}}
    fields = task.params_type.model_fields
    assert list(made) == list(fields)
    for name, field in fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        assert made[name].required == field.is_required(), name
        assert made[name].default == (list(default) if isinstance(default, tuple) else default), name
        assert made[name].help == help_text(field), name
        assert field.description, f"{task.kind} {name} says nothing"
        assert made[name].param_type_name == ("argument" if is_argument(field) else "option")
        if not is_argument(field):
            assert flag(name) in made[name].opts


@pytest.mark.parametrize("name", COMMANDS)
def test_given_any_command_when_help_is_asked_then_it_is_printed_on_stdout(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, name, "--help")
    assert (ran.exit_code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: workbench {name} ")
    command = load_command(name)
    for subcommand in getattr(command, "commands", {}):
        ran = workbench(capsys, name, subcommand, "--help")
        assert (ran.exit_code, ran.err) == (0, "")


def test_given_units_and_bounds_when_help_is_made_then_both_are_said() -> None:
    assert help_text(Sample.model_fields["tokens"]) == "Tokens to read. (tokens, ≥ 1)"
    assert help_text(Sample.model_fields["threshold"]) == "Share of influence kept. (> 0, ≤ 1)"


def test_given_values_on_the_command_line_when_parsed_then_they_have_the_fields_types(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr("workbench.cli.task_command.run_task", lambda ctx, task, values, *said: seen.update(values))
    words = ["a b", "--tokens", "7", "--kind", "l1", "--layers", "1", "--layers", "2", "--no-resume", "--from", "c"]
    sample_command(monkeypatch).main(words, standalone_mode=False)
    expected = {"prompt": "a b", "tokens": 7, "threshold": 0.8, "kind": "l1", "layers": [1, 2], "resume": False}
    assert seen == expected | {"target": None, "from_": "c"}
    assert checked_params(Sample, seen, "sample") == Sample(
        prompt="a b", tokens=7, kind="l1", layers=(1, 2), resume=False, from_="c"
    )


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"prompt": "a", "tokens": 0}, "--tokens: input should be greater than or equal to 1, not 0"),
        ({"prompt": "a \udcff"}, "--prompt: the text should be UTF-8, not 'a \\udcff'"),
        ({"prompt": "a", "threshold": 1.5}, "--threshold: input should be less than or equal to 1, not 1.5"),
        ({"prompt": "a", "threshold": float("nan")}, "--threshold: input should be"),
    ],
)
def test_given_a_value_out_of_bounds_when_checked_then_option_and_bound_are_named(
    values: dict[str, Any], line: str
) -> None:
    with pytest.raises(BadInput) as caught:
        checked_params(Sample, values, "sample")
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_given_a_type_that_no_option_can_hold_when_a_command_is_made_then_the_developer_is_told() -> None:
    with pytest.raises(TypeError, match="no option can hold"):
        option_type(dict[str, int])


def test_given_the_first_interrupt_when_working_then_the_event_is_set_and_the_second_stops_at_once() -> None:
    with stop_on_signal() as cancelled:
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelled.wait(1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("nonsense",), 2, "No such command 'nonsense'"),
        (("init",), 2, "Missing"),
        (("jobs", "list", "--limit", "x"), 2, "--limit"),
        (("jobs", "list"), 3, "no project"),
        (("graph", "show", "1"), 3, "no project"),
        (("features", "search", "Paris"), 3, "no project"),
    ],
)
def test_given_bad_input_when_run_then_one_line_on_stderr_and_its_exit_code(
    arguments: tuple[str, ...],
    exit_code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = workbench(capsys, *arguments)
    assert (ran.exit_code, ran.out) == (exit_code, "")
    assert ran.err.startswith("workbench: ")
    assert words in ran.err
    assert ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_given_a_fault_of_our_own_when_run_then_one_line_names_the_log_with_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise ZeroDivisionError("by \x1b[31mzero \udcff")

    monkeypatch.setattr("workbench.cli.command_list.load_command", fail)
    monkeypatch.setattr("sys.argv", ["workbench", "jobs", "list", "not \udcff text"])
    ran = workbench(capsys, "jobs", "list")
    assert ran.exit_code == 1
    assert ran.err.count("\n") == 1
    assert "\x1b" not in ran.err
    log = Path(ran.err.rsplit("details: ", 1)[1].rstrip(")\n"))
    assert "ZeroDivisionError" in log.read_text()
    log.unlink()


def test_given_a_json_document_when_printed_then_it_reads_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from workbench.cli.output import emit_json

    emit_json({"token": "\x9b\u202eé"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"token": "\x9b\u202eé"}
