"""`workbench dictionaries`: the dictionary sets of a project, to read, to give away and to take in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from store.errors import BadInput
from workbench.cli.command_list import DictionaryCommands
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

if TYPE_CHECKING:
    from store.dictionaries import DictionaryRecord
    from store.project import Project

app = typer.Typer(
    cls=DictionaryCommands,
    add_completion=False,
    rich_markup_mode=None,
    help="Dictionary sets: list, show, import, export, remove.",
)
NameArgument = Annotated[str, typer.Argument(help="The set's name.", metavar="NAME")]
LayersOption = Annotated[str, typer.Option(help="Layers of the set, as 4-12,20; all if left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("list")
def list_sets(ctx: typer.Context, json: JsonOption = False) -> None:
    """Every set of the project: its layers, size and quality; neurons and transcoders if they were indexed."""
    from store import dictionaries
    from workbench.tui.render.dictionaries import set_document, set_table

    with open_project(ctx) as project:
        documents = [set_document(records) for records in dictionaries.listing(project.db, indexed=True).values()]
    if json:
        emit_json({"dictionaries": documents})
    else:
        emit_view(set_table(documents))


@app.command()
def show(ctx: typer.Context, name: NameArgument, json: JsonOption = False) -> None:
    """One set, a line a layer: activation, features, quality, where it came from, its file."""
    from store import dictionaries
    from workbench.tui.render.dictionaries import set_document, set_view

    with open_project(ctx) as project:
        records = dictionaries.find(project.db, name, indexed=True)
        document = set_document(records) | {"graphs": dictionaries.graphs_with(project.db, name)}
    if json:
        emit_json(document | {"records": [asdict(record) for record in records]})
    else:
        emit_view(set_view(document, records))


@app.command()
def export(
    ctx: typer.Context,
    name: NameArgument,
    directory: Annotated[Path, typer.Argument(help="A new directory, with a folder a layer.")],
    format: Annotated[
        Literal["saelens", "sparsify"],
        typer.Option(help="saelens: SAELens 6, every activation. sparsify: TopK alone."),
    ] = "saelens",
    layers: LayersOption = "",
    json: JsonOption = False,
) -> None:
    """Write a set for SAELens or sparsify, with the same features to 1e-6."""
    with open_project(ctx) as project:
        document = _export(project, name, directory, format, layers)
    if json:
        emit_json(document)
    else:
        from workbench.tui.render.facts import facts

        emit_view(facts(document | {"layers": " ".join(map(str, document["layers"]))}))


@app.command()
def remove(
    ctx: typer.Context,
    name: NameArgument,
    layers: LayersOption = "",
    force: Annotated[bool, typer.Option("--force", help="Although graphs are made of its features.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove a set, or some of its layers: weights, index and labels. Graphs stay and can no longer be validated.

    Of neurons and transcoders, whose weights are not the project's, the index and the labels go.
    """
    from store import dictionaries

    with open_project(ctx, write=True) as project:
        records = _chosen(project, dictionaries.find(project.db, name, indexed=True), layers)
        graphs = dictionaries.graphs_with(project.db, name) if any(record.file for record in records) else []
        if graphs and not force:
            raise BadInput(
                f"graph {graphs[0]} is made of features of {name!r}", "give --force to remove it all the same"
            )
        with project.transaction():
            dictionaries.remove(project.db, records)
        swept = project.sweep()
    document = {"dictionary": name, "layers": [record.layer for record in records], "files": swept}
    if json:
        emit_json(document)
    else:
        from workbench.tui.render.document import document_view

        emit_view(document_view(document))


def _export(project: Project, name: str, directory: Path, format_name: Any, layers: str) -> dict[str, Any]:
    """Write the set and say what was written."""
    from store import dictionaries
    from tasks.dictionaries.formats.set_directory import write_set
    from tasks.dictionaries.loading import load_stored_layer

    records = _chosen(project, dictionaries.find(project.db, name), layers)
    loaded = {record.layer: load_stored_layer(project, record) for record in records}
    folders = write_set(loaded, directory, format_name, project.model.spec)
    size = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    return {"dictionary": name, "directory": str(directory), "format": format_name, "layers": sorted(loaded),
            "bytes": size}  # fmt: skip


def _chosen(project: Project, records: list[DictionaryRecord], layers: str) -> list[DictionaryRecord]:
    """The records of these layers; `BadInput` for one that the set does not have."""
    if not layers.strip():
        return records
    from tasks.model.naming import parse_layers

    wanted = parse_layers(layers, project.model.n_layers, project.model.spec)
    held = {record.layer: record for record in records}
    absent = [layer for layer in wanted if layer not in held]
    if absent:
        raise BadInput(f"the set {records[0].name!r} has no layer {absent[0]}", f"its layers are {sorted(held)}")
    return [held[layer] for layer in wanted]
