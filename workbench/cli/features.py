"""`workbench features`: find features by words, and read one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Search the features of dictionaries; show one.")
DictionaryOption = Annotated[str | None, typer.Option(help="Only in this dictionary set.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def search(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(help="Words in labels, examples or promoted tokens.", metavar="WORD")],
    dictionary: DictionaryOption = None,
    layer: Annotated[list[int] | None, typer.Option(help="Only in this layer (repeatable).", min=0)] = None,
    limit: Annotated[int, typer.Option(help="How many features at most.", min=1)] = 20,
    json: JsonOption = False,
) -> None:
    """Features in which all the words occur, best first."""
    from store import features
    from workbench.tui.render.features import feature_table

    with open_project(ctx) as project:
        rows = features.search(project.db, " ".join(words), dictionary, layer, limit)
    if json:
        emit_json({"features": rows})
    else:
        emit_view(feature_table(rows))


@app.command()
def show(
    ctx: typer.Context,
    feature: Annotated[str, typer.Argument(help="The feature, as L12/345.", metavar="FEATURE")],
    dictionary: DictionaryOption = None,
    examples: Annotated[
        bool, typer.Option("--examples/--no-examples", help="Read the contexts again; this loads the model.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """One feature: density, activations, promoted and suppressed tokens, its strongest examples."""
    from store import features
    from workbench.tui.render.features import feature_card

    contexts: list[Any] = []
    with open_project(ctx) as project:
        record = features.find(project.db, feature, dictionary)
        if examples:
            from tasks.interpret import feature_card as read_card
            from tasks.model.sources import load_project_model

            contexts = [asdict(context) for context in read_card(project, load_project_model(project), feature,
                                                                  dictionary).contexts]  # fmt: skip
    card = asdict(record) | {"feature": record.name, "examples": contexts}
    if json:
        emit_json(card)
    else:
        emit_view(feature_card(card))
