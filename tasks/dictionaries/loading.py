"""From the name of a dictionary set to its dictionaries: neurons, or a set that the project has trained."""

import torch

from store import dictionaries
from store.errors import BadInput
from store.project import Project
from tasks.dictionaries.dictionary_set import DictionarySet, neuron_set
from tasks.dictionaries.sae import SparseAutoencoder, load_autoencoder
from tasks.dictionaries.transcoder_files import PREFIX, load_transcoder_set
from tasks.model.language_model import LanguageModel

NEURONS = "neurons"
"""The set that every model has."""
CPU = torch.device("cpu")


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
    if name not in set_names(project):
        known = [NEURONS, *set_names(project)]
        raise BadInput(
            f"no dictionary set named {name!r}", f"there are {', '.join(known)}; `workbench train` makes one"
        )
    layers = {}
    for record in dictionaries.find(project.db, name):
        if record.config["d_mlp"] != model.d_mlp or record.layer >= model.n_layers:
            raise BadInput(
                f"the set {name!r} is for another model (layer {record.layer}, width {record.config['d_mlp']})",
                f"train one on {model.spec}",
            )
        layers[record.layer] = load_stored_layer(project, record, model.device)
    return DictionarySet(name, layers)


def load_stored_layer(
    project: Project, record: dictionaries.DictionaryRecord, device: torch.device = CPU
) -> SparseAutoencoder:
    """The SAE of one row, its file checked against the row's hash; `Damaged` names the file."""
    return load_autoencoder(project.files.verify(record.weights), record.layer, record.config, device)


def refuse_transcoders(name: str, command: str) -> None:
    """`BadInput` if `name` is a transcoder set, for commands that work on the MLP hidden alone."""
    if name.startswith(PREFIX):
        raise BadInput(
            f"{command} works on the MLP's hidden activations and {name} reads the MLP's input",
            "name neurons or a set that `workbench train` made; trace, intervene and validate take transcoders",
        )


def set_names(project: Project) -> list[str]:
    """The names of the sets whose weights the project has."""
    sql = "SELECT DISTINCT name FROM dictionary WHERE file_id IS NOT NULL ORDER BY name"
    return [row[0] for row in project.db.execute(sql).fetchall()]


def dictionary_ids(project: Project, name: str) -> dict[int, int]:
    """Layer -> id of its row, for a set of the store."""
    rows = project.db.execute("SELECT layer, id FROM dictionary WHERE name = ? ORDER BY layer", [name]).fetchall()
    return {int(layer): int(row_id) for layer, row_id in rows}
