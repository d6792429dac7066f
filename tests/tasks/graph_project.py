"""A project on a tiny model in a directory, with a small SAE set on two of its layers, for tests of the graph tasks."""

from pathlib import Path
from typing import Any

import torch

from store.project import Project
from tasks.context import Context
from tasks.dictionaries.loading import load_dictionary_set
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.execute import execute
from tasks.model.language_model import LanguageModel
from tasks.model.sources import describe_model, load_model
from tasks.registry import task
from tests.oracle.plain_dictionary import Layers, PlainDictionary
from tests.tiny import save_tiny

FAMILY = "qwen2"
PROMPT = "w5 w17 w44 w3 w71 w28 w60"
CORRUPT = "w5 w17 w90 w3 w12 w28 w60"
SAE_LAYERS = (0, 2)
TABLES = ("job", "file", "graph", "node", "edge", "intervention", "effect")


def create(directory: Path) -> Project:
    """A new project in `directory`/project; the model is beside it."""
    model = load_model(str(save_tiny(FAMILY, directory / "model")), "cpu")
    project = Project.create(directory / "project", describe_model(model, "cpu"), "0.1.0")
    generator = torch.Generator().manual_seed(1)
    for layer in SAE_LAYERS:
        _store(project, _autoencoder(model, layer, generator))
    return project


def _autoencoder(model: LanguageModel, layer: int, generator: torch.Generator) -> SparseAutoencoder:
    m, n = model.d_mlp, 64
    encoder = torch.randn(n, m, generator=generator) * m**-0.5
    bias = torch.randn(n, generator=generator) * 0.1
    return SparseAutoencoder(layer, encoder, bias, encoder.clone(), bias.new_zeros(m), 8, n)


def _store(project: Project, sae: SparseAutoencoder) -> None:
    """The rows that a training leaves."""
    stored = project.files.write("weights", f"toy-L{sae.layer}.safetensors", sae.save)
    with project.transaction():
        job = project.db.table("job").insert(
            {"kind": "train", "params": "{}", "params_hash": f"toy{sae.layer}", "state": "succeeded", "created_at": ""}
        )
        row = {
            "job_id": job.last_pk, "name": "toy", "kind": "sae", "layer": sae.layer, "n_features": sae.n_features,
            "objective": "topk", "file_id": project.record_file(stored), "metrics": "{}",
        }  # fmt: skip
        project.db.table("dictionary").insert(row | {"config": sae.config()})


def twin_set(context: Context) -> Layers:
    """The SAE set as matrices, float64."""
    layers: Layers = {}
    for layer, sae in load_dictionary_set(context.project, "toy", context.model).layers.items():
        every = torch.arange(sae.n_features)
        layers[layer] = PlainDictionary(
            sae.read_vectors(every).double(), sae.read_bias(every).double(), sae.write_vectors(every).double(),
            sae.write_bias.double(), on_hidden=True, k=8,
        )  # fmt: skip
    return layers


def run(context: Context, kind: str, **options: Any) -> dict[str, Any]:
    """Execute a task."""
    return execute(kind, task(kind).params_type(**options), context)


def counts(project: Project) -> dict[str, int]:
    """Rows of every table that the graph tasks write."""
    return {name: project.db.table(name).count for name in TABLES}
