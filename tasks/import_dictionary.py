"""Import: SAEs that SAELens or sparsify trained on the MLP hidden, as a dictionary set of this project."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.files import StoredFile
    from store.project import Project
    from tasks.context import Context
    from tasks.dictionaries.formats.weight_files import ForeignLayer

_RESERVED = "neurons"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Params(_Params):
    """The options of `workbench dictionaries import`."""

    directory: Path = option(..., "The SAE's folder, or the one around the folders of a whole set.", argument=True)
    name: str = option("", "What the set is called from now on; its directory's name if left out.")
    layers: str = option("", "Layers to import, as 4-12,20; all there are if left out.")


@dataclass(frozen=True)
class ImportedLayer:
    """One SAE on its way into the store."""

    layer: int
    stored: StoredFile
    config: dict[str, Any]
    """What loading needs, and where it came from."""


@dataclass(frozen=True)
class Result:
    """An imported set."""

    name: str
    model_name: str | None
    layers: list[ImportedLayer]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of table `dictionary`."""
        for each in self.layers:
            project.db.execute(
                "INSERT INTO dictionary (job_id, name, kind, layer, n_features, objective, file_id, config, metrics)"
                " VALUES (?, ?, 'sae', ?, ?, ?, ?, ?, '{}')",
                [
                    job_id,
                    self.name,
                    each.layer,
                    each.config["n_features"],
                    each.config["activation"],
                    project.record_file(each.stored),
                    json.dumps(each.config),
                ],
            )
        return {
            "dictionary": self.name,
            "trained_on": self.model_name,
            "weights": [{"layer": each.layer, "file": each.stored.path, "hash": each.stored.hash}
                        for each in self.layers],
            "layers": [_layer_document(each) for each in self.layers],
        }  # fmt: skip


def run(params: Params, context: Context) -> Result:
    """Read every SAE, fold it into this project's form, and write it durably. The model itself is not loaded."""
    from tasks.dictionaries.formats.set_directory import read_set
    from tasks.dictionaries.formats.weight_files import Shape
    from tasks.model.naming import own_name, parse_layers

    model = context.project.model
    name = params.name or params.directory.expanduser().resolve().name
    if name == _RESERVED or not _NAME.fullmatch(name):
        raise BadInput(f"a set cannot be called {name!r}", "use letters, digits, dots and dashes for --name")
    chosen = parse_layers(params.layers, model.n_layers, model.spec) if params.layers.strip() else []
    shape = Shape(model.d_mlp, model.n_layers, model.spec)
    imported, trained_on = [], None
    with context.stage("importing SAEs", 1, "sets") as stage:
        for foreign in read_set(params.directory.expanduser(), shape, chosen):
            context.check()
            _refuse_taken(context.project, name, foreign.layer)
            imported.append(_written(context.project, name, foreign))
            trained_on = trained_on or foreign.model_name
        stage.advance(1)
    if trained_on and own_name(trained_on) != own_name(model.spec):
        context.progress.note(f"these SAEs were trained on {trained_on}, the project's model is {model.spec}")
    return Result(name, trained_on, sorted(imported, key=lambda each: each.layer))


def _written(project: Project, name: str, foreign: ForeignLayer) -> ImportedLayer:
    """The layer's weights as a durable file of this project, and its config."""
    autoencoder = foreign.autoencoder
    stored = project.files.write("weights", f"{name}-L{foreign.layer}.safetensors", autoencoder.save)
    origin = {"format": foreign.format, "folder": foreign.folder.name, "architecture": foreign.architecture}
    config = autoencoder.config() | {"imported_from": origin | {"model": foreign.model_name}}
    return ImportedLayer(foreign.layer, stored, config)


def _refuse_taken(project: Project, name: str, layer: int) -> None:
    sql = "SELECT 1 FROM dictionary WHERE name = ? AND layer = ?"
    if project.db.execute(sql, [name, layer]).fetchone():
        raise BadInput(f"the set {name!r} has layer {layer} already", "choose another --name")


def _layer_document(each: ImportedLayer) -> dict[str, Any]:
    config = each.config
    return {
        "layer": each.layer,
        "n_features": config["n_features"],
        "activation": config["activation"],
        "k": config["k"],
        "format": config["imported_from"]["format"],
        "architecture": config["imported_from"]["architecture"],
    }
