"""Train: one sparse autoencoder a layer on the MLP hidden h, from a capture or straight from the model (METHOD §6).

A run that is stopped or killed goes on from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from store import jobs
from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.files import StoredFile
    from store.project import Project
    from tasks.context import Context
    from tasks.dictionaries.activations import Activations
    from tasks.dictionaries.training import TrainingPlan
    from tasks.dictionaries.training_run import TrainedLayer

_RESERVED = "neurons"
_STREAMING = ("tokens", "corpus", "context_length", "validation_share")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Params(_Params):
    """The options of `workbench train`."""

    layers: str = option("", "Layers, as 4-12,20; all of the capture, or six spread over the model, if left out.")
    objective: Literal["topk", "l1"] = option("topk", "topk: the k largest features; l1: ReLU with a penalty on ‖z‖₁.")
    features: int = option(2048, "Features a layer: the bottleneck.", unit="features", ge=2)
    l0: int = option(32, "Features kept at each token (k of topk).", unit="features", ge=1)
    l1_coefficient: float = option(3.0, "λ of l1, with h scaled to E‖h‖² = m; larger is sparser.", gt=0.0)
    capture: int = option(0, "Train from this capture's shards; 0 streams from the model.", ge=0)
    tokens: int = option(60_000, "Tokens to read when streaming, train and validation together.", unit="tokens", ge=1)
    corpus: str = option("offline", "Text to read when streaming: offline, a file or directory, or hub:NAME.")
    context_length: int = option(64, "Longest window of one document when streaming.", unit="tokens", ge=2)
    validation_share: float = option(0.1, "Share of documents kept from training when streaming.", gt=0.0, le=0.5)
    epochs: int = option(3, "Passes over each buffer-full of tokens.", ge=1)
    batch_size: int = option(512, "Tokens a step.", unit="tokens", ge=1)
    learning_rate: float = option(3e-3, "Adam's, at its height.", gt=0.0)
    buffer_mb: int = option(2048, "Bound on the activations held in memory.", unit="MB", ge=1)
    checkpoint_steps: int = option(100, "Steps between checkpoints of a layer.", unit="steps", ge=1)
    seed: int = option(0, "Decides initial weights, the order of tokens, and the split when streaming.", ge=0)
    name: str = option("sae", "What the set is called from now on.")


@dataclass(frozen=True)
class SavedLayer:
    """A trained layer whose weights are on the disk."""

    layer: int
    stored: StoredFile
    config: dict[str, Any]
    metrics: dict[str, Any]
    points: list[tuple[int, Literal["train", "validation"], float, float, float, float]]
    """Rows of table `training_point`."""


@dataclass
class Result:
    """A trained set."""

    params: Params
    layers: list[SavedLayer] = field(default_factory=list)

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `dictionary` and `training_point`."""
        params = self.params
        for layer in self.layers:
            cursor = project.db.execute(
                "INSERT INTO dictionary (job_id, name, kind, layer, n_features, objective, file_id, config, metrics)"
                " VALUES (?, ?, 'sae', ?, ?, ?, ?, ?, ?)",
                [
                    job_id,
                    params.name,
                    layer.layer,
                    params.features,
                    params.objective,
                    project.record_file(layer.stored),
                    json.dumps(layer.config),
                    json.dumps(layer.metrics),
                ],
            )
            for point in layer.points:
                project.db.execute(
                    "INSERT INTO training_point VALUES (?, ?, ?, ?, ?, ?, ?)", [cursor.lastrowid, *point]
                )
        return {
            "dictionary": params.name,
            "objective": params.objective,
            "weights": [
                {"layer": layer.layer, "file": layer.stored.path, "hash": layer.stored.hash} for layer in self.layers
            ],
            "layers": [{"layer": layer.layer} | layer.metrics for layer in self.layers],
        }


def run(params: Params, context: Context) -> Result:
    """Train every layer; each is on the disk as soon as it is done."""
    from tasks.dictionaries.checkpoints import Checkpoints, forget_finished
    from tasks.dictionaries.training_run import TrainingRun

    _check(params)
    activations = _activations(params, context)
    _refuse_taken(context.project, params.name, activations.layers)
    key = _run_key(params, context.project)
    forget_finished(context.project)
    checkpoints = Checkpoints.of(context.project, key)
    result = Result(params)
    total = activations.n_rows * params.epochs * len(activations.layers)
    with context.stage("training SAEs", total, "tokens x layers") as stage:
        plan = _plan(params, activations)
        training = TrainingRun(
            context.model, activations, checkpoints, plan, params.epochs, params.checkpoint_steps, stage
        )
        for layer in training.layers():
            result.layers.append(_written(context.project, params, layer, key))
    return result


def _check(params: Params) -> None:
    if params.name == _RESERVED or not _NAME.fullmatch(params.name):
        raise BadInput(f"a set cannot be called {params.name!r}", "use letters, digits, dots and dashes for --name")
    if params.objective == "topk" and params.l0 > params.features:
        raise BadInput(
            f"--l0 {params.l0} keeps more features than the {params.features} there are",
            "lower --l0 or raise --features",
        )


def _refuse_taken(project: Project, name: str, layers: list[int]) -> None:
    from tasks.dictionaries.loading import dictionary_ids

    taken = sorted(set(layers) & set(dictionary_ids(project, name)))
    if taken:
        raise BadInput(
            f"the set {name!r} has layer {taken[0]} already", "choose another --name, or layers that it does not have"
        )


def _activations(params: Params, context: Context) -> Activations:
    from tasks.dictionaries.activations import CapturedActivations, StreamedActivations
    from tasks.dictionaries.corpus_text import SPLITS, CorpusText
    from tasks.dictionaries.layer_choice import chosen_layers

    buffer_bytes = params.buffer_mb * 1_000_000
    if params.capture:
        layers = context.model.parse_layers(params.layers) if params.layers.strip() else []
        return CapturedActivations.open(context.project, params.capture, layers, buffer_bytes)
    text = CorpusText(
        context.model, params.corpus, params.context_length, params.tokens, params.validation_share, params.seed
    )
    text.require(*SPLITS)
    layers = chosen_layers(context.model, params.layers)
    return StreamedActivations.open(context.model, text, layers, buffer_bytes, lambda _rows: context.check())


def _plan(params: Params, activations: Activations) -> TrainingPlan:
    from tasks.dictionaries.training import TrainingPlan

    return TrainingPlan(
        objective=params.objective,
        n_features=params.features,
        k=params.l0,
        l1_coefficient=params.l1_coefficient,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        seed=params.seed,
        total_rows=activations.n_rows * params.epochs,
    )


def _run_key(params: Params, project: Project) -> str:
    """Stands for all that decides the outcome: params, model, and the tokens of the capture."""
    sql = "SELECT corpus_hash FROM capture WHERE id = ?"
    captured = [row[0] for row in project.db.execute(sql, [params.capture]).fetchall()]
    idle = {"checkpoint_steps", *(_STREAMING if params.capture else ())}
    deciding = [params.model_dump(exclude=idle), captured]
    return jobs.params_hash("train", json.dumps(deciding), project.model.revision)


def _written(project: Project, params: Params, layer: TrainedLayer, run_key: str) -> SavedLayer:
    """The layer's weights as a durable file, and what its rows will say."""
    autoencoder = layer.autoencoder
    stored = project.files.write("weights", f"{params.name}-L{autoencoder.layer}.safetensors", autoencoder.save)
    metrics = {
        "bottleneck": params.l0 if params.objective == "topk" else None,
        "n_features": params.features,
        **layer.quality.document(),
        "dead_share": layer.dead_share,
        "dead_window_tokens": layer.dead_window,
        "dead_share_validation": layer.quality.dead_share,
        "validation_tokens": layer.quality.n_tokens,
        "train_tokens": layer.train_rows // params.epochs,
        "tokens": layer.train_rows,
        "wall_seconds": layer.wall_s,
        "cpu_seconds": layer.cpu_s,
    }
    points = [(p.tokens, p.split, p.loss, p.fvu, p.l0, p.dead_share) for p in layer.points]
    return SavedLayer(autoencoder.layer, stored, autoencoder.config() | {"run": run_key}, metrics, points)
