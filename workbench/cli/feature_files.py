"""`workbench features export` and `import`: features as Neuronpedia and circuit-tracer keep them, a JSON file each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.errors import BadInput, Missing
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

FolderArgument = Annotated[Path, typer.Argument(help="The folder of the files, NUMBER.json each.", metavar="FOLDER")]
SetOption = Annotated[str, typer.Option(help="The dictionary set that the features are of.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
_MOST = 10_000_000
_AT_ONCE = 500


def export_features(
    ctx: typer.Context,
    folder: FolderArgument,
    words: Annotated[
        list[str] | None, typer.Argument(help="Only what this search finds, as of `features search`.", metavar="WORD")
    ] = None,
    dictionary: SetOption = "sae",
    json: JsonOption = False,
) -> None:
    """Write features as Neuronpedia feature JSON, a file each; files that are there already are written anew."""
    import json as json_format

    from store import feature_json, features
    from tasks.graphs.active_features import search

    with open_project(ctx) as project:
        quoted = dictionary.replace("\\", "\\\\").replace('"', '\\"')
        found = search(project, f'{" ".join(words or [])} set:"{quoted}"', limit=_MOST).found.ids.tolist()
        if not found:
            raise Missing(f"no indexed feature of {dictionary!r} is like that", "`workbench index` describes features")
        folder.mkdir(parents=True, exist_ok=True)
        for first in range(0, len(found), _AT_ONCE):
            for row in features.rows_of(project.db, found[first : first + _AT_ONCE]).values():
                document = feature_json.feature_document(features.card(project.db, row.name, row.dictionary))
                path = folder / f"{document['index']}.json"
                path.write_text(json_format.dumps(document), encoding="utf-8")
    _print({"dictionary": dictionary, "folder": str(folder), "features": len(found)}, json)


def import_features(
    ctx: typer.Context,
    folder: FolderArgument,
    dictionary: SetOption = "sae",
    json: JsonOption = False,
) -> None:
    """Take in Neuronpedia feature JSON for the features of a set: examples, promoted tokens, labels where none is."""
    from store import dictionaries, feature_json

    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise BadInput(f"{folder} holds no .json file", "give the folder of the features' files")
    read = [feature_json.read_feature(path) for path in paths]
    with open_project(ctx, write=True, work=False) as project, project.transaction():
        layers = {record.layer: record for record in dictionaries.find(project.db, dictionary, indexed=True)}
        for found in read:
            record = layers.get(found.layer)
            if record is None or found.feature >= record.n_features:
                fault = f"the set {dictionary!r} has no feature L{found.layer}/{found.feature}"
                raise BadInput(fault, "name the set that the files are of with --dictionary")
            feature_json.store_feature(project.db, record.id, found, "imported")
    _print({"dictionary": dictionary, "folder": str(folder), "features": len(read)}, json)


def _print(document: dict[str, object], json: bool) -> None:
    if json:
        emit_json(document)
    else:
        from workbench.tui.render.facts import facts

        emit_view(facts(document))
