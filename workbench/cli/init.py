"""`workbench init`: an empty project on a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from store.errors import BadInput
from workbench import VERSION
from workbench.cli.output import emit_json, emit_view, narrate
from workbench.tui.render.facts import facts

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where the project goes; made if it is not there.", metavar="DIR")],
    model: Annotated[
        str,
        typer.Option(
            help="A hub id, a directory of safetensors, a .gguf file, or builtin:smollm2-135m.", metavar="SPEC"
        ),
    ],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of a hub model.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Make a project on a model.

    The model is loaded once to see that it can be worked on, and its revision is pinned: a project never mixes models.
    """
    from store.location import DATABASE_NAME
    from store.project import Project
    from tasks.model.sources import describe_model, load_model

    if (directory / DATABASE_NAME).exists():
        raise BadInput(f"{directory} already is a project", "choose another directory, or use this one")
    record = describe_model(load_model(model, device, dtype, revision, narrate), device, dtype)
    Project.create(directory, record, VERSION).close()
    document = {"project": str(directory), "model": asdict(record)}
    if json:
        emit_json(document)
    else:
        emit_view(facts({"project": str(directory), **asdict(record)}))
