"""`workbench features`: find features, read one, say what it means, and what is like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli import feature_files, feature_labels
from workbench.cli.command_list import FeatureCommands
from workbench.cli.feature_labels import print_said
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view, stdout_console

if TYPE_CHECKING:
    from store.project import Project

app = typer.Typer(
    cls=FeatureCommands,
    add_completion=False,
    rich_markup_mode=None,
    help="Search the features of dictionaries; read, label and star one.",
)
FeatureArgument = Annotated[str, typer.Argument(help="The feature, as L12/345.", metavar="FEATURE")]
DictionaryOption = Annotated[str | None, typer.Option(help="Only in this dictionary set.", metavar="NAME")]
LimitOption = Annotated[int, typer.Option(help="How many features at most.", min=1)]
SortOption = Annotated[
    str, typer.Option(help="place, density, rarity, maximum, label; in a graph also activation, effect.", metavar="BY")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def search(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            help="Words in labels, examples or promoted tokens, and filters: layer:8-14 density:<1% max:>10 label:? "
            'label:* label:WORD star: set:NAME kind:sae fires-on:" Paris" in:GRAPH@POSITION not-in:GRAPH.',
            metavar="WORD",
        ),
    ],
    dictionary: DictionaryOption = None,
    layer: Annotated[list[int] | None, typer.Option(help="Only in this layer (repeatable).", min=0)] = None,
    sort: SortOption = "",
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> None:
    """Features in which all the words occur and which pass the filters, best first."""
    query = " ".join(words)
    if dictionary is not None:
        query += f" set:{_quoted(dictionary)}"
    if layer:
        query += f" layer:{','.join(map(str, layer))}"
    _print_found(ctx, query, sort, limit, json)


@app.command()
def contrast(
    ctx: typer.Context,
    on: Annotated[str, typer.Argument(help="The graph where they are active: 5, or 5@7 for a position.")],
    off: Annotated[str, typer.Argument(help="The graph where they are not: 6, or 6@7 for a position.")],
    words: Annotated[list[str] | None, typer.Argument(help="Words and filters, as of search.", metavar="WORD")] = None,
    sort: SortOption = "activation",
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> None:
    """Features that are active in one graph and not in another, strongest first."""
    _print_found(ctx, " ".join([f"in:{on}", f"not-in:{off}", *(words or [])]), sort, limit, json)


@app.command()
def show(
    ctx: typer.Context,
    feature: FeatureArgument,
    dictionary: DictionaryOption = None,
    examples: Annotated[bool, typer.Option("--examples/--no-examples", help="Print the strongest examples.")] = True,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read all examples again from the corpus; this loads the model.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """One feature's card: label, activations, promoted and suppressed tokens, strongest examples, where it occurs."""
    from store import features
    from tasks.dictionaries.public_sets import dashboard
    from workbench.tui.render.feature_card import feature_card

    with open_project(ctx) as project:
        card = features.card(project.db, feature, dictionary)
        card = card | {"dashboard": dashboard(str(card["dictionary"]), int(card["layer"]), int(card["index"]))}
        if not examples:
            card = card | {"contexts": [], "examples": []}
        elif reread:
            card = card | {"contexts": _reread(project, feature, dictionary)}
    if json:
        emit_json(card)
    else:
        emit_view(feature_card(card, stdout_console().width))


app.command("label")(feature_labels.label_command())
app.command("export")(feature_files.export_features)
app.command("import")(feature_files.import_features)


@app.command()
def star(
    ctx: typer.Context,
    feature: FeatureArgument,
    dictionary: DictionaryOption = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the star away.")] = False,
    json: JsonOption = False,
) -> None:
    """Star a feature, so that star: finds it again."""
    from store import features, labels

    with open_project(ctx, write=True, work=False) as project, project.transaction():
        record = features.find(project.db, feature, dictionary)
        labels.set_star(project.db, record.dictionary_id, record.feature, not remove)
    print_said(record.dictionary, record.name, {"starred": not remove}, json)


@app.command()
def neighbours(
    ctx: typer.Context,
    feature: FeatureArgument,
    dictionary: DictionaryOption = None,
    limit: LimitOption = 10,
    json: JsonOption = False,
) -> None:
    """The features most like one: by decoder cosine in its layer, by promoted tokens in common in the others."""
    from store import features
    from tasks.feature_neighbours import neighbours as find_neighbours
    from workbench.tui.render.features import neighbours_view

    with open_project(ctx) as project:
        record = features.find(project.db, feature, dictionary)
        found = find_neighbours(project, record, limit).document()
    document = {"dictionary": record.dictionary, "feature": record.name, "layer": record.layer} | found
    if json:
        emit_json(document)
    else:
        emit_view(neighbours_view(document, stdout_console().width))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _print_found(ctx: typer.Context, query: str, sort: str, limit: int, json: bool) -> None:
    from tasks.graphs.active_features import search_documents

    with open_project(ctx) as project:
        documents = search_documents(project, query, sort, limit)
    if json:
        emit_json({"features": documents})
    else:
        from workbench.tui.render.features import feature_table

        emit_view(feature_table(documents))


def _reread(project: Project, feature: str, dictionary: str | None) -> list[dict[str, Any]]:
    """All examples with their words read again from the corpus that was indexed."""
    from tasks.interpret import feature_card as read_card
    from tasks.model.sources import load_project_model

    card = read_card(project, load_project_model(project), feature, dictionary)
    return [
        {
            "document": each.document,
            "position": each.position,
            "activation": each.activation,
            "tokens": [*each.before, each.token, *each.after],
            "values": [each.activation if i == len(each.before) else None for i in range(_length(each))],
            "at": len(each.before),
        }
        for each in card.contexts
    ]


def _length(context: Any) -> int:
    return len(context.before) + 1 + len(context.after)
