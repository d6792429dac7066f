"""The demonstration: every deliverable once, in order, on one project; an interrupted one continues where it stopped.

Each step is a task with the options below, run through `execute(reuse=True)`: what has succeeded with the same options
is not done again. Sizes are chosen so that two cores need less than ten minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.context import Context
from tasks.execute import execute
from tasks.params import Params
from tasks.registry import task

EMBEDDED = "builtin:smollm2-135m"
"""The model that the demonstration is made for."""

Documents = Mapping[str, dict[str, Any]]
"""Step name to the document that it left."""


@dataclass(frozen=True)
class Step:
    """One task of the path. `options` are made from the documents of the steps before it."""

    name: str
    kind: str
    title: str
    expected_s: float
    """Wall time on two cores: the weight of the step in the time that is left."""
    options: Callable[[Documents], dict[str, Any]]


@dataclass(frozen=True)
class Done:
    """A step that was taken: its options and its document."""

    step: Step
    params: Params
    document: dict[str, Any]


def run_steps(steps: tuple[Step, ...], context: Context) -> Iterator[Done]:
    """Take the steps one after the other; each is handed out as soon as it is done."""
    documents: dict[str, dict[str, Any]] = {}
    with context.stage("the whole path", sum(step.expected_s for step in steps), "s of work") as path:
        for number, step in enumerate(steps, start=1):
            context.progress.note(f"step {number} of {len(steps)}: {step.title}")
            params = task(step.kind).params_type(**step.options(documents))
            documents[step.name] = execute(step.kind, params, context, reuse=True)
            yield Done(step, params, documents[step.name])
            path.advance(step.expected_s)
