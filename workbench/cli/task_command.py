"""A task's subcommand, made from its params: one option a field, with its type, default, bounds and unit."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from signal import SIGINT, SIGTERM, default_int_handler, signal
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from store.errors import BadInput
from tasks.command_line import flag, is_argument
from tasks.params import Params
from tasks.registry import Task
from workbench.cli.invocation import open_project, project_directory
from workbench.cli.output import emit, emit_job_id, narrate
from workbench.cli.progress import terminal_progress
from workbench.figures import draw_graph

if TYPE_CHECKING:
    from workbench.worker.client import WorkerClient

_BOUNDS = {"ge": "≥", "le": "≤", "gt": ">", "lt": "<"}


def task_app(task: Task) -> typer.Typer:
    """A typer app with the one command that runs `task`."""
    params_type = task.params_type

    def command(ctx: typer.Context, detach: bool, json: bool, **values: Any) -> None:
        run_task(ctx, task, values, json, detach)

    detach_option = typer.Option("--detach", help="Queue it for the worker, print the job's id, and do not wait.")
    json_option = typer.Option("--json", help="Print one JSON document on stdout.")
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            keyword("ctx", typer.Context),
            *parameters(params_type),
            keyword("detach", Annotated[bool, detach_option], False),
            keyword("json", Annotated[bool, json_option], False),
        ]
    )
    command.__annotations__ = {name: p.annotation for name, p in inspect.signature(command).parameters.items()}
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(task.words[-1], help=task.summary)(command)
    return app


def run_task(ctx: typer.Context, task: Task, values: Mapping[str, Any], as_json: bool, detach: bool = False) -> None:
    """Check the values and run the task: in the project's worker if one runs, else here. Print its document or view.

    With `detach` the job is only queued and its id printed.
    """
    params = checked_params(task.params_type, values, " ".join(task.words))
    directory = project_directory(ctx)
    from workbench.worker.client import WorkerClient

    client = WorkerClient.connect(directory)
    with client or nullcontext():
        if detach:
            _queue(directory, task, params, client, as_json)
        elif client is not None:
            from workbench.cli.background import run_in_worker

            document = run_in_worker(directory, task.kind, params, client)
            with open_project(ctx) as project:
                emit(task.kind, document, project, as_json)
        else:
            _run_here(ctx, task, params, as_json)


def _queue(directory: Path, task: Task, params: Params, client: WorkerClient | None, as_json: bool) -> None:
    from workbench.cli.background import tell_queued
    from workbench.worker.orders import hand_over

    job_id = hand_over(directory, task.kind, params, client)
    emit_job_id(job_id, as_json)
    tell_queued(directory, job_id, client)


def _run_here(ctx: typer.Context, task: Task, params: Params, as_json: bool) -> None:
    from tasks.context import Context
    from tasks.execute import execute

    with open_project(ctx, write=True) as project:
        with terminal_progress() as progress, stop_on_signal() as cancelled:
            document = execute(task.kind, params, Context(project, progress, cancelled, draw=draw_graph))
        emit(task.kind, document, project, as_json)


def checked_params(params_type: type[Params], values: Mapping[str, Any], command: str) -> Params:
    """The params that `values` (None: not given) make; `BadInput` names the first option at fault and its bound."""
    try:
        return params_type.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = flag(str(first["loc"][0])) if first["loc"] else command
        fault = f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}"
        raise BadInput(fault, f"`workbench {command} --help` gives the bounds") from error


@contextmanager
def stop_on_signal() -> Iterator[Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets: work ends between batches. The second ends it at once."""
    cancelled = Event()

    def stop(number: int, frame: types.FrameType | None) -> None:
        if cancelled.is_set():
            default_int_handler(number, frame)
        cancelled.set()
        narrate("stopping after this step; once more to stop at once")

    before = {number: signal(number, stop) for number in (SIGINT, SIGTERM)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal(number, handler)


def help_text(field: FieldInfo) -> str:
    """The field's sentence with its unit and bounds: `Tokens to read. (tokens, ≥ 1)`."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    limits = [
        f"{mark} {getattr(m, name):g}" for m in field.metadata for name, mark in _BOUNDS.items() if hasattr(m, name)
    ]
    notes = ", ".join(filter(None, [str(extra.get("unit") or ""), *limits]))
    return f"{field.description or ''} ({notes})" if notes else field.description or ""


def option_type(annotation: Any) -> Any:
    """The type that the command line reads: tuples of one type become lists, `X | None` stays optional."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        inner = [option_type(part) for part in parts if part is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"an option has one type, not {annotation}")
        return inner[0] | None
    if origin in (tuple, list):
        return list[option_type(parts[0])]  # type: ignore[misc]
    if origin is Literal or isinstance(annotation, type):
        return annotation
    raise TypeError(f"no option can hold {annotation}")


def parameters(params_type: type[Params]) -> list[inspect.Parameter]:
    """What a command takes that takes all of these params: one option, or argument, a field."""
    return [_parameter(name, field) for name, field in params_type.model_fields.items()]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    annotation = option_type(field.annotation)
    made = typer.Argument if is_argument(field) else typer.Option
    declaration = [] if is_argument(field) else [flag(name)]
    if annotation is bool:
        declaration = [f"{flag(name)}/--no-{flag(name)[2:]}"]
    info = made(*declaration, help=help_text(field), metavar=name.rstrip("_").upper() if is_argument(field) else None)
    if field.is_required():
        return keyword(name, Annotated[annotation, info])
    default = field.get_default(call_default_factory=True)
    return keyword(name, Annotated[annotation, info], list(default) if isinstance(default, tuple) else default)


def keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """One parameter of a command's signature."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
