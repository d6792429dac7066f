"""Validate: every kept feature of a graph ablated, and swapped from a corrupt prompt, in the real model (METHOD §5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from torch import Tensor

    from store.graphs import GraphRecord
    from store.project import Project
    from tasks.circuits.nodes import ActiveFeatures
    from tasks.circuits.validation import Bench, CircuitValues
    from tasks.context import Context, Stage


class Params(_Params):
    """The options of `workbench validate`."""

    graph: int = option(..., "The graph's id, as `workbench graph list` prints it.", argument=True)
    from_: str | None = option(None, "A corrupt prompt of equal token length, to swap features from.")
    controls: bool = option(True, "Ablate as many random active features, matched in layer, position and size.")
    batch: int = option(32, "Edited copies of the prompt run at once.", unit="prompts", ge=1)
    seed: int = option(0, "Draws the controls.", ge=0)


@dataclass(frozen=True)
class Measured:
    """Some features with what was predicted and what happened."""

    features: ActiveFeatures
    share: Tensor
    predicted: Tensor
    effect: Tensor

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Result:
    """All measurements of one validation."""

    graph: int
    kept: Measured
    swapped: Measured | None
    controls: Measured
    circuit: CircuitValues
    floor: float
    baseline: float
    metric: str
    removal: str
    """What the circuit's complement was set to."""

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of table `effect`, and the document."""
        rows = []
        for kind, measured in (("ablation", self.kept), ("swap", self.swapped), ("control", self.controls)):
            rows.extend(_effect_rows(kind, measured, self.floor) if measured is not None else [])
        project.db.conn.executemany(
            "INSERT INTO effect (job_id, graph_id, kind, layer, position, feature, predicted, measured, verdict)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(job_id, self.graph, *row) for row in rows],
        )
        return self.document()

    def document(self) -> dict[str, Any]:
        """What `validate --json` prints; every effect is baseline - edited, in nats of `metric`."""
        predicted = _agreement(self.kept.predicted, self.kept)
        share = _agreement(self.kept.share, self.kept)
        document: dict[str, Any] = {
            "graph": self.graph,
            "metric": self.metric,
            "baseline": self.baseline,
            "nodes": _node_documents(self.kept, self.swapped, self.floor),
            "pearson_predicted": predicted["pearson"],
            "spearman_predicted": predicted["spearman"],
            "slope_predicted": predicted["slope"],
            "sign_agreement_predicted": predicted["sign_agreement"],
            "pearson_influence": share["pearson"],
            "spearman_influence": share["spearman"],
            "layers": _by_layer(self.kept),
            "swaps": None if self.swapped is None else _agreement(self.swapped.predicted, self.swapped),
            "controls": _agreement(self.controls.predicted, self.controls)
            | {"mean_absolute_effect": _mean_size(self.controls), "of_kept_features": _mean_size(self.kept)},
            "noise_floor": self.floor,
            "faithfulness": self.circuit.faithfulness,
            "completeness": self.circuit.completeness,
            "circuit": asdict(self.circuit) | {"removal": self.removal, "features": len(self.kept)},
        }
        return document | {"verdicts": _verdict_counts(document["nodes"])}


def run(params: Params, context: Context) -> Result:
    """Ablate, swap and control; then remove the circuit's complement."""
    from store import graphs
    from tasks.circuits.agreement import noise_floor
    from tasks.circuits.validation import circuit_values

    record = graphs.find(context.project.db, params.graph)
    bench = _bench(params, context, record)
    removed = None if params.from_ is None else _corrupt_features(context, bench, params.from_, record)
    claims, kept = _claims(context, record, bench)
    measured, swapped, controls = _measured(params, context, bench, claims, kept, removed)
    return Result(
        graph=params.graph,
        kept=measured,
        swapped=swapped,
        controls=controls,
        circuit=circuit_values(bench, claims.features, kept, removed, _first_position(record)),
        floor=noise_floor(controls.effect.cpu().double().numpy()),
        baseline=bench.baseline(),
        metric=_metric_name(record),
        removal="the corrupt prompt's values" if removed is not None else "zero",
    )


@dataclass(frozen=True)
class _Claims:
    """What the graph says of every active feature."""

    features: ActiveFeatures
    share: Tensor
    predicted: Tensor

    def ablated(self, bench: Bench, rows: Tensor, stage: Stage) -> Measured:
        """These features, each alone at zero."""
        features = self.features.take(rows)
        effect = bench.effects_of_setting(features, features.activation * 0, stage)
        return Measured(features, self.share[rows], self.predicted[rows], effect)

    def swapped(self, bench: Bench, rows: Tensor, there: dict[int, Tensor], stage: Stage) -> Measured:
        """These features, each alone at its value in the corrupt prompt; first order in the distance moved."""
        features = self.features.take(rows)
        value = _values_at(there, features)
        effect = bench.effects_of_setting(features, value, stage)
        predicted = self.predicted[rows] * (1 - value / features.activation)
        return Measured(features, self.share[rows], predicted, effect)


def _claims(context: Context, record: GraphRecord, bench: Bench) -> tuple[_Claims, Tensor]:
    """The claims of a graph, and a mask of the features that it kept.

    A graph of another program predicts no effects: they are computed, as a trace does.
    """
    from store import graphs
    from tasks.circuits.effect import predicted_effects
    from tasks.circuits.graph_file import active_features
    from tasks.circuits.validation import rows_of

    path = context.project.files.verify(graphs.arrays(context.project, record.id))
    features, share, predicted = active_features(path, context.model.device)
    if predicted.isnan().any():
        predicted = predicted_effects(bench.model, bench.tokens, bench.dictionaries, features, bench.target)
    claims = _Claims(features, share, predicted)
    nodes = graphs.nodes(context.project.db, record.id)
    places = [(node.layer, node.position, node.feature) for node in nodes if node.kind == "feature"]
    return claims, rows_of(claims.features, places)


def _measured(
    params: Params, context: Context, bench: Bench, claims: _Claims, kept: Tensor, removed: dict[int, Tensor] | None
) -> tuple[Measured, Measured | None, Measured]:
    """The kept features ablated, the same swapped where there is a corrupt prompt, and the controls ablated."""
    import torch

    from tasks.circuits.validation import matched_controls

    rows = kept.nonzero().squeeze(1)
    controls = rows[:0]
    if params.controls:
        controls = matched_controls(claims.features, kept, torch.Generator().manual_seed(params.seed))
    n_runs = len(rows) * (1 if removed is None else 2) + len(controls)
    with context.stage("measure effects", n_runs, "edits") as stage:
        return (
            claims.ablated(bench, rows, stage),
            None if removed is None else claims.swapped(bench, rows, removed, stage),
            claims.ablated(bench, controls, stage),
        )


def _bench(params: Params, context: Context, record: GraphRecord) -> Bench:
    from tasks.circuits.graph_file import stored_target
    from tasks.circuits.retrace import refuse_imported
    from tasks.circuits.validation import Bench
    from tasks.dictionaries.loading import load_dictionary_set

    refuse_imported(record, context.model)
    dictionaries = load_dictionary_set(context.project, record.dictionary, context.model)
    return Bench(
        context.model,
        tuple(record.token_ids),
        dictionaries.only(record.summary["dictionary_layers"]),
        stored_target(record.targets[0]),
        params.batch,
    )


def _corrupt_features(context: Context, bench: Bench, prompt: str, record: GraphRecord) -> dict[int, Tensor]:
    """The features of the corrupt prompt by layer; `BadInput` with both lengths if they differ."""
    from tasks.circuits.frozen import freeze
    from tasks.circuits.request import activations, refuse_unequal

    summary = record.summary
    form = {name: summary[name] for name in ("chat", "system", "prefill", "special_start") if name in summary}
    tokens = context.model.tokenize(prompt, **form)
    refuse_unequal(bench.tokens, tokens)
    return activations(bench.dictionaries, freeze(context.model, tokens))


def _values_at(values: dict[int, Tensor], features: ActiveFeatures) -> Tensor:
    places = zip(features.layer.tolist(), features.position.tolist(), features.index.tolist(), strict=True)
    return features.activation.new_tensor([float(values[layer][at, index]) for layer, at, index in places])


def _first_position(record: GraphRecord) -> int:
    return 0 if record.summary["first_position"] else 1


def _metric_name(record: GraphRecord) -> str:
    decisive = record.targets[0]
    if decisive.get("kind") == "feature":
        return f"pre-activation of {decisive['token']}"
    rival = "the mean logit" if decisive["rival"] is None else f"logit({decisive['rival']!r})"
    return f"logit({decisive['token']!r}) - {rival}, nats"


def _agreement(predicted: Tensor, measured: Measured) -> dict[str, Any]:
    from tasks.circuits.agreement import agreement

    return asdict(agreement(predicted.cpu().double().numpy(), measured.effect.cpu().double().numpy()))


def _by_layer(measured: Measured) -> list[dict[str, Any]]:
    """Agreement of prediction and share with the measurement, layer by layer."""
    documents = []
    for layer in measured.features.layer.unique().tolist():
        rows = (measured.features.layer == layer).nonzero().squeeze(1)
        here = Measured(
            measured.features.take(rows), measured.share[rows], measured.predicted[rows], measured.effect[rows]
        )
        documents.append(
            {"layer": layer, "predicted": _agreement(here.predicted, here), "share": _agreement(here.share, here)}
        )
    return documents


def _mean_size(measured: Measured) -> float | None:
    return float(measured.effect.abs().mean()) if len(measured) else None


def _effect_rows(kind: str, measured: Measured, floor: float) -> list[tuple[Any, ...]]:
    from tasks.circuits.agreement import verdict

    columns = (measured.features.layer, measured.features.position, measured.features.index)
    numbers = zip(*(c.tolist() for c in (*columns, measured.predicted, measured.effect)), strict=True)
    return [
        (kind, layer, position, index, predicted, effect, str(verdict(predicted, effect, floor)))
        for layer, position, index, predicted, effect in numbers
    ]


def _node_documents(kept: Measured, swapped: Measured | None, floor: float) -> list[dict[str, Any]]:
    swaps = None if swapped is None else list(zip(swapped.predicted.tolist(), swapped.effect.tolist(), strict=True))
    documents = []
    for row, (_, layer, position, index, predicted, effect, verdict) in enumerate(
        _effect_rows("ablation", kept, floor)
    ):
        documents.append(
            {
                "node": f"L{layer}/{index}@{position}",
                "activation": float(kept.features.activation[row]),
                "share": float(kept.share[row]),
                "predicted_effect": predicted,
                "measured_effect": effect,
                "verdict": verdict,
                "swap": None if swaps is None else dict(zip(("predicted", "measured"), swaps[row], strict=True)),
            }
        )
    return documents


def _verdict_counts(nodes: list[dict[str, Any]]) -> dict[str, int]:
    verdicts = [node["verdict"] for node in nodes]
    return {name: verdicts.count(name) for name in ("confirmed", "weak", "contradicted")}
