"""From the name of a dictionary set to its dictionaries: neurons, or a set that the project has trained."""

import json
from typing import Any

from store.errors import BadInput
from store.files import StoredFile
from store.project import Project
from tasks.dictionaries.dictionary_set import DictionarySet, neuron_set
from tasks.dictionaries.sae import load_autoencoder
from tasks.dictionaries.transcoder_files import PREFIX, load_transcoder_set
from tasks.model.language_model import LanguageModel

NEURONS = "neurons"
"""The set that every model has."""


def load_dictionary_set(project: Project, name: str, model: LanguageModel) -> DictionarySet:
    """The set of that name on the model's device; every stored file is checked against its row's hash first.

    `neurons` is the model's own, `transcoder:PLACE` a set in circuit-tracer's format, from a directory or the hub.
    Raises `BadInput` that names the sets there are, `Damaged` that names a file. What a person should know of the set
    is in its `notes`.
    """
    if name == NEURONS:
        return neuron_set(model)
    if name.startswith(PREFIX):
        return load_transcoder_set(name.removeprefix(PREFIX), model)
    sql = (
        "SELECT layer, config, path, size_bytes, hash FROM dictionary JOIN file ON file.id = file_id"
        " WHERE dictionary.name = ? ORDER BY layer"
    )
    rows = project.db.execute(sql, [name]).fetchall()
    if not rows:
        known = [NEURONS, *set_names(project)]
        raise BadInput(
            f"no dictionary set named {name!r}", f"there are {', '.join(known)}; `workbench train` makes one"
        )
    layers = {}
    for layer, config_json, *stored in rows:
        config: dict[str, Any] = json.loads(config_json)
        if config["d_mlp"] != model.d_mlp or layer >= model.n_layers:
            raise BadInput(
                f"the set {name!r} is for another model (layer {layer}, width {config['d_mlp']})",
                f"train one on {model.spec}",
            )
        path = project.files.verify(StoredFile(*stored))
        layers[layer] = load_autoencoder(path, layer, config, model.device)
    return DictionarySet(name, layers)


def refuse_transcoders(name: str, command: str) -> None:
    """`BadInput` if `name` is a transcoder set, for commands that work on the MLP hidden alone."""
    if name.startswith(PREFIX):
        raise BadInput(
            f"{command} works on the MLP's hidden activations and {name} reads the MLP's input",
            "name neurons or a set that `workbench train` made; trace, intervene and validate take transcoders",
        )


def set_names(project: Project) -> list[str]:
    """The names of the sets that the project has trained."""
    return [row[0] for row in project.db.execute("SELECT DISTINCT name FROM dictionary ORDER BY name").fetchall()]


def dictionary_ids(project: Project, name: str) -> dict[int, int]:
    """Layer -> id of its row, for a set of the store."""
    rows = project.db.execute("SELECT layer, id FROM dictionary WHERE name = ? ORDER BY layer", [name]).fetchall()
    return {int(layer): int(row_id) for layer, row_id in rows}
