"""Train: one sparse autoencoder a layer on the MLP hidden h, from a capture or straight from the model (METHOD §6).

What the run will take is said before it starts. A run that is stopped or killed goes on from its last checkpoint when
the same command is given again.
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
    from tasks.training.plan import TrainingPlan
    from tasks.training.run import TrainedLayer

_RESERVED = "neurons"
_STREAMING = ("tokens", "corpus", "context_length", "validation_share")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[KMGT]i?B|B)?", re.IGNORECASE)
_UNITS = {"": 1, "B": 1} | {f"{letter}B": 10 ** (3 * i) for i, letter in enumerate("KMGT", 1)}
_UNITS |= {f"{letter}IB": 2 ** (10 * i) for i, letter in enumerate("KMGT", 1)}


class Params(_Params):
    """The options of `workbench train`."""

    layers: str = option("", "Layers, as 4-12,20; all of the capture, or six spread over the model, if left out.")
    objective: Literal["topk", "batchtopk", "matryoshka", "jumprelu", "gated", "l1"] = option(
        "topk",
        "topk: the k largest features of a token; batchtopk: of a batch; matryoshka: batchtopk at several sizes;"
        " jumprelu: above a learned threshold; gated: behind a gate with ‖z‖₁; l1: ReLU with ‖z‖₁.",
    )
    features: int = option(2048, "Features a layer: the bottleneck.", unit="features", ge=2)
    l0: int = option(32, "Features active at a token: kept, or aimed at by jumprelu.", unit="features", ge=1)
    l1_coefficient: float = option(3.0, "λ of l1 and gated, with h scaled to E‖h‖² = m; larger is sparser.", gt=0.0)
    l0_coefficient: float = option(1.0, "λ of jumprelu's penalty (L0 / l0 - 1)², in units of m.", gt=0.0)
    bandwidth: float = option(0.5, "Width of jumprelu's straight-through kernel, in units of scaled h.", gt=0.0)
    threshold_pace: float = option(10.0, "Learning rate of jumprelu's log thresholds, in learning rates.", gt=0.0)
    levels: str = option("1/16,1/8,1/4,1/2,1", "matryoshka: shares of the features that each reconstruct alone.")
    capture: int = option(0, "Train from this capture's shards; 0 streams from the model.", ge=0)
    tokens: int = option(60_000, "Tokens to read when streaming, train and validation together.", unit="tokens", ge=1)
    corpus: str = option("offline", "Text to read when streaming: offline, a file or directory, or hub:NAME.")
    context_length: int = option(64, "Longest window of one document when streaming.", unit="tokens", ge=2)
    validation_share: float = option(0.1, "Share of documents kept from training when streaming.", gt=0.0, le=0.5)
    epochs: int = option(3, "Passes over each buffer-full of tokens.", ge=1)
    batch_size: int = option(512, "Tokens a step.", unit="tokens", ge=1)
    learning_rate: float = option(3e-3, "Adam's, at its height.", gt=0.0)
    warm_up: float = option(0.05, "Share of the run over which the learning rate rises.", ge=0.0, le=1.0)
    decay: float = option(0.4, "Share of the run, at its end, over which it falls to zero.", ge=0.0, le=1.0)
    dead_window: float = option(0.1, "A feature silent for this share of the run is dead.", gt=0.0, le=1.0)
    revival: float = option(1 / 32, "Weight of the loss that revives dead features (aux-k); 0 for none.", ge=0.0)
    decoder: Literal["unit", "free"] = option(
        "unit", "unit: decoder rows of norm 1, their gradient tangent to the sphere; free: neither."
    )
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "Of matrix products; bfloat16 keeps float32 weights, sums by pairs and Adam."
    )
    buffer: str = option("2GiB", "Bound on the activations held in memory, as 512MB or 2GiB.")
    memory: str = option(
        "", "Bound on what training holds in memory; layers train in groups that fit. 60 % of what is free."
    )
    checkpoint_steps: int = option(100, "Steps between checkpoints of a layer.", unit="steps", ge=1)
    recovery_tokens: int = option(
        0, "Held-out tokens to measure CE recovered on, five times a run.", unit="tokens", ge=0
    )
    seed: int = option(0, "Decides initial weights, the order of tokens, and the split when streaming.", ge=0)
    name: str = option("sae", "What the set is called from now on.")

    @property
    def buffer_bytes(self) -> int:
        """The bound of `--buffer`."""
        return size_in_bytes(self.buffer, "--buffer")

    @property
    def memory_bytes(self) -> int | None:
        """The bound of `--memory`; None for what the machine allows."""
        return size_in_bytes(self.memory, "--memory") if self.memory.strip() else None

    def plan(self, rows: int) -> TrainingPlan:
        """The plan of a layer that has so many training rows."""
        from tasks.training.plan import TrainingPlan

        return TrainingPlan(
            objective=self.objective, n_features=self.features, k=self.l0, l1_coefficient=self.l1_coefficient,
            l0_coefficient=self.l0_coefficient, bandwidth=self.bandwidth,
            threshold_pace=self.threshold_pace, levels=_levels(self.levels),
            batch_size=self.batch_size, learning_rate=self.learning_rate, warm_up=self.warm_up, decay=self.decay,
            dead_window_share=self.dead_window, revival_weight=self.revival, unit_decoder=self.decoder == "unit",
            precision=self.precision, seed=self.seed, total_rows=rows * self.epochs,
        )  # fmt: skip


@dataclass(frozen=True)
class SavedLayer:
    """A trained layer whose weights are on the disk."""

    layer: int
    stored: StoredFile
    config: dict[str, Any]
    metrics: dict[str, Any]
    points: list[tuple[int, Literal["train", "validation"], float, float, float, float]]
    """Rows of table `training_point`."""
    curve: dict[str, list[float | None]]
    """The validation points by column, for `--json` and the plot."""


@dataclass
class Result:
    """A trained set."""

    params: Params
    layers: list[SavedLayer] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    """What the run was expected to take, and took."""
    corpus_hash: str = ""
    """Of the token stream that was trained on; empty of a capture's."""

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
            "layers": [{"layer": layer.layer} | layer.metrics | {"curve": layer.curve} for layer in self.layers],
            "plan": self.plan,
        } | ({"corpus": params.corpus, "corpus_hash": self.corpus_hash} if self.corpus_hash else {})


def run(params: Params, context: Context) -> Result:
    """Train every layer; each is on the disk as soon as it is done."""
    from tasks.training.checkpoints import Checkpoints, forget_finished
    from tasks.training.set_run import SetRun

    _check(params)
    set_run = SetRun.prepare(params, context)
    _refuse_taken(context.project, params.name, set_run.layers)
    key = _run_key(params, context.project)
    forget_finished(context.project)
    set_run.announce()
    result = Result(params, corpus_hash=set_run.corpus_hash)
    for layer in set_run.trained(Checkpoints.of(context.project, key)):
        result.layers.append(_written(context.project, params, layer, key))
    result.layers.sort(key=lambda each: each.layer)
    result.plan = set_run.outcome()
    return result


def size_in_bytes(text: str, name: str) -> int:
    """The bytes of `512MB`, `2GiB` or a bare number; `BadInput` names the option."""
    matched = _SIZE.fullmatch(text.strip())
    n_bytes = float(matched["number"]) * _UNITS[(matched["unit"] or "").upper()] if matched else 0
    if n_bytes < 1:
        raise BadInput(f"{name} {text!r} is no size", "give bytes, as 512MB, 2GiB or 4e9 written out")
    return int(n_bytes)


def _levels(text: str) -> tuple[float, ...]:
    """The shares of `1/4,0.5,1`."""
    try:
        parts = [part.split("/") for part in text.split(",")]
        shares = tuple(float(part[0]) / float(part[1] if len(part) > 1 else 1) for part in parts)
    except (ValueError, ZeroDivisionError):
        shares = ()
    if not shares or not all(0 < share <= 1 for share in shares):
        raise BadInput(f"--levels {text!r} are no shares", "give shares of the features, as 1/4,1/2,1")
    return shares


def _check(params: Params) -> None:
    if params.name == _RESERVED or not _NAME.fullmatch(params.name):
        raise BadInput(f"a set cannot be called {params.name!r}", "use letters, digits, dots and dashes for --name")
    if params.objective not in ("l1", "gated") and params.l0 > params.features:
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


def _run_key(params: Params, project: Project) -> str:
    """Stands for all that decides the outcome: params, model, and the tokens of the capture."""
    sql = "SELECT corpus_hash FROM capture WHERE id = ?"
    captured = [row[0] for row in project.db.execute(sql, [params.capture]).fetchall()]
    idle = {"checkpoint_steps", "memory", *(_STREAMING if params.capture else ())}
    deciding = [params.model_dump(exclude=idle), captured]
    return jobs.params_hash("train", json.dumps(deciding), project.model.revision)


def _written(project: Project, params: Params, layer: TrainedLayer, run_key: str) -> SavedLayer:
    """The layer's weights as a durable file, and what its rows will say."""
    autoencoder = layer.autoencoder
    stored = project.files.write("weights", f"{params.name}-L{autoencoder.layer}.safetensors", autoencoder.save)
    recovered = [[point.tokens, point.ce_recovered] for point in layer.points if point.ce_recovered is not None]
    metrics = {
        "bottleneck": params.l0 if params.objective not in ("l1", "gated") else None,
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
        "ce_curve": recovered,
    }
    points = [(p.tokens, p.split, p.loss, p.fvu, p.l0, p.dead_share) for p in layer.points]
    config = autoencoder.config() | {"run": run_key}
    return SavedLayer(autoencoder.layer, stored, config, metrics, points, _curve(layer))


def _curve(layer: TrainedLayer) -> dict[str, list[float | None]]:
    """The validation points, a list a column."""
    points = [point for point in layer.points if point.split == "validation"]
    columns = ("tokens", "loss", "fvu", "l0", "dead_share", "ce_recovered")
    return {name: [getattr(point, name) for point in points] for name in columns}
