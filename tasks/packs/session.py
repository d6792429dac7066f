"""A project's finished jobs as steps that can be taken again: which one needs what another one made, and as a script.

A script or notebook of the session calls the tasks as the command line does, through `tasks.execute.execute`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from store.errors import BadInput
from tasks.command_line import command_line
from tasks.registry import TASKS, task

if TYPE_CHECKING:
    from store.jobs import Job
    from store.project import ModelRecord
    from tasks.params import Params

REFERENCES = ("capture", "graph")
"""Params that name a row which an earlier job made, and the key of that job's document which says its id."""
_LEFT_AWAY = frozenset({"pack"})
_OPENING = '''"""The session of a workbench project: every finished job, in order.

As a script: `python FILE.py DIR` makes a project in DIR, or goes on with the one that is there, and takes every step.
What has been done there with the same options is not done again.
"""

import sys
from pathlib import Path

from store.location import DATABASE_NAME
from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.model.sources import describe_model, load_model
from tasks.registry import task

MODEL = {model}
REVISION = {revision}
DEVICE, DTYPE = {device}, {dtype}


def open_project(directory: Path) -> Project:
    """The project in `directory`; a new one on the session's model if there is none."""
    if (directory / DATABASE_NAME).exists():
        return Project.open(directory, write=True)
    model = load_model(MODEL, DEVICE, DTYPE, REVISION, print)
    return Project.create(directory, describe_model(model, DEVICE, DTYPE), {version})


def run(kind: str, **options: object) -> dict:
    """Take one step and say so; the document that `workbench {{kind}} --json` prints."""
    print(kind, *(f"{{name}}={{value!r}}" for name, value in options.items()), flush=True)
    return execute(kind, task(kind).params_type(**options), context, reuse=True)
'''
_START = "\nproject = open_project(Path({directory}))\ncontext = Context(project)\n"
_END = "\nproject.close()\n"


@dataclass(frozen=True)
class Step:
    """One job that can be run again."""

    job: Job
    params: Params
    """As this workbench's task resolves them."""
    needs: Mapping[str, int]
    """Field -> the job whose document says its value."""

    @property
    def variable(self) -> str:
        """What its document is called in a script."""
        return f"job_{self.job.id}"

    def renamed(self, documents: Mapping[int, Mapping[str, Any]]) -> Params:
        """The params with the ids that the jobs it needs have given this time; `documents` by job."""
        new = {field: documents[job][field] for field, job in self.needs.items() if job in documents}
        return self.params.model_copy(update=new)


def session_steps(jobs: Sequence[Job]) -> list[Step]:
    """The finished jobs in order, each with what it needs of those before.

    Jobs of kinds or with options that this workbench does not know are left away.
    """
    made: dict[tuple[str, int], int] = {}
    steps = []
    for job in sorted(jobs, key=lambda job: job.id):
        if job.kind not in TASKS or job.kind in _LEFT_AWAY:
            continue
        try:
            params = task(job.kind).params_type.model_validate(job.params)
        except ValidationError:
            continue
        wanted = {field: (field, getattr(params, field, None)) for field in REFERENCES}
        steps.append(Step(job, params, {field: made[key] for field, key in wanted.items() if key in made}))
        for field in REFERENCES:
            if field not in steps[-1].needs and isinstance(identity := (job.result or {}).get(field), int):
                made.setdefault((field, identity), job.id)
    return steps


def commands(steps: Sequence[Step], model: ModelRecord) -> bytes:
    """The commands in order, as a shell script for a project in PROJECT."""
    place = Path("PROJECT")
    opening = [
        "#!/bin/sh",
        "# The commands of this project, in order. They name rows by the ids that they had: in a fresh project each",
        "# command gives the same ids, as long as nothing fails in between.",
        shlex.join(
            ["workbench", "init", "PROJECT", "--model", model.spec, "--device", model.device, "--dtype", model.dtype]
        ),
    ]
    lines = [command_line(step.job.kind, step.params, place) for step in steps]
    return "\n".join([*opening, *lines, ""]).encode("utf-8", "replace")


def write_session(file: Path, steps: Sequence[Step], model: ModelRecord, version: str) -> None:
    """Write the session as `*.py` or `*.ipynb`; `BadInput` for another ending, and over a file."""
    makers: dict[str, Callable[..., str]] = {".py": script, ".ipynb": notebook}
    if file.suffix not in makers:
        raise BadInput(f"{file} ends neither in .py nor in .ipynb", f"name it {file.with_suffix('.py')}")
    if file.exists():
        raise BadInput(f"{file} exists", "choose another name")
    try:
        file.write_text(makers[file.suffix](steps, model, version), "utf-8")
    except OSError as error:
        raise BadInput(f"{file} cannot be written ({error.strerror})", "choose another place") from error


def script(steps: Sequence[Step], model: ModelRecord, version: str) -> str:
    """The session as a Python program."""
    start = _START.format(directory='sys.argv[1] if len(sys.argv) > 1 else "session"')
    return "".join([_opening(model, version), "\n", start, *(f"\n{_call(step)}\n" for step in steps), _END])


def notebook(steps: Sequence[Step], model: ModelRecord, version: str) -> str:
    """The session as a Jupyter notebook (nbformat 4.5): a cell a step."""
    cells = [_opening(model, version), _START.format(directory='"session"')]
    cells += [_call(step) for step in steps] + [_END]
    document = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [_cell(number, cell.strip("\n")) for number, cell in enumerate(cells)],
    }
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def _opening(model: ModelRecord, version: str) -> str:
    """The imports and the model; every value is an ASCII literal, so that no text of a pack becomes code."""
    return _OPENING.format(
        model=ascii(model.spec), revision=ascii(model.revision), device=ascii(model.device), dtype=ascii(model.dtype),
        version=ascii(version),
    )  # fmt: skip


def _cell(number: int, source: str) -> dict[str, Any]:
    return {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "execution_count": None, "outputs": [],
            "source": source.splitlines(keepends=True)}  # fmt: skip


def _call(step: Step) -> str:
    """`job_3 = run("train", capture=job_2["capture"], features=2048)`."""
    options = [f"{name}={text}" for name, text in _options(step)]
    return f"{step.variable} = run({', '.join([repr(step.job.kind), *options])})"


def _options(step: Step) -> Iterator[tuple[str, str]]:
    for name, field in type(step.params).model_fields.items():
        value = getattr(step.params, name)
        if name in step.needs:
            yield name, f"job_{step.needs[name]}[{name!r}]"
        elif field.is_required() or value != field.get_default(call_default_factory=True):
            yield name, ascii(str(value) if isinstance(value, Path) else value)
