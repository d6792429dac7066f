"""`workbench features label`: what a feature means, by hand, or by a judge with scores beside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from store.errors import BadInput
from tasks.registry import task
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view
from workbench.cli.task_command import keyword, parameters, run_task

FeatureArgument = Annotated[str | None, typer.Argument(help="The feature, as L12/345.", metavar="FEATURE")]
TextArgument = Annotated[
    str | None,
    typer.Argument(help="What it means, at most 200 characters; empty takes the label away.", metavar="TEXT"),
]
AutoOption = Annotated[
    bool, typer.Option("--auto", help="Let a judge write the labels and score them; the options below are for this.")
]
DictionaryOption = Annotated[
    str | None, typer.Option(help="In this dictionary set; with --auto `sae` if left out.", metavar="NAME")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Queue it for the worker, print the job's id, and do not wait.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
_KIND = "label"


def label_command() -> Callable[..., None]:
    """The command: a feature and a text by hand, or `--auto` with the options of the task `label`."""

    def label(ctx: typer.Context, **values: Any) -> None:
        feature, text, auto, json, detach = (
            values.pop(name) for name in ("feature", "text", "auto", "json", "detach")
        )  # what is left are the task's params
        if auto:
            named = [*values["features"], *([feature] if feature else [])]
            run_task(ctx, task(_KIND), values | {"features": named}, json, detach)
        else:
            _by_hand(ctx, feature, text, values["dictionary"], json)

    of_task = [
        keyword(each.name, DictionaryOption, None) if each.name == "dictionary" else each
        for each in parameters(task(_KIND).params_type)
    ]
    label.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            keyword("ctx", typer.Context),
            keyword("feature", FeatureArgument, None),
            keyword("text", TextArgument, None),
            keyword("auto", AutoOption, False),
            *of_task,
            keyword("detach", DetachOption, False),
            keyword("json", JsonOption, False),
        ]
    )
    label.__annotations__ = {name: p.annotation for name, p in inspect.signature(label).parameters.items()}
    label.__doc__ = (
        "Say what a feature means, or with --auto have it said, with scores. Earlier labels stay in its history;"
        " searches find it by the new one."
    )
    return label


def print_said(dictionary: str, feature: str, said: dict[str, Any], json: bool) -> None:
    """Print what was said of a feature, in a line a fact."""
    if json:
        emit_json({"dictionary": dictionary, "feature": feature} | said)
        return
    from workbench.tui.render.facts import facts

    shown = {"feature": f"{dictionary} {feature}"} | {name: value for name, value in said.items() if name != "labels"}
    emit_view(facts(shown))


def _by_hand(ctx: typer.Context, feature: str | None, text: str | None, dictionary: str | None, json: bool) -> None:
    from store import features, labels

    if feature is None or text is None:
        raise BadInput("no label is given", "write `workbench features label FEATURE TEXT`, or add --auto")
    labels.check_label(text)
    with open_project(ctx, write=True, work=False) as project, project.transaction():
        record = features.find(project.db, feature, dictionary)
        kept = labels.set_label(project.db, record.id, text)
        history = labels.history(project.db, record.dictionary_id, record.feature)
    print_said(record.dictionary, record.name, {"label": kept, "labels": [each.document() for each in history]}, json)
