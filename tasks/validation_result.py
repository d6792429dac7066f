"""What a validation of a graph leaves: the rows, and the document that it prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.graphs.validation_summary import SATURATED, graph_summary

if TYPE_CHECKING:
    from torch import Tensor

    from store.project import Project
    from tasks.circuits.nodes import ActiveFeatures
    from tasks.interventions.faithfulness_curve import CircuitValues, Curve

VERDICTS = ("confirmed", "weak", "contradicted", "untested")
Document = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """Some features with what was predicted and what happened."""

    features: ActiveFeatures
    share: Tensor
    predicted: Tensor
    effect: Tensor
    """NaN of a feature that was not tested, and of a run that failed."""
    tested: Tensor
    """[n], a mask."""

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: Tensor) -> Measured:
        """The features of these rows, in their order."""
        return Measured(
            self.features.take(rows), self.share[rows], self.predicted[rows], self.effect[rows], self.tested[rows]
        )

    def known(self) -> Measured:
        """Those that were measured, and whose run did not fail."""
        return self.take(self.effect.isfinite().nonzero().squeeze(1))


@dataclass(frozen=True)
class Group:
    """A supernode removed as one, in nats; None where it has no features."""

    name: str
    nodes: list[int]
    n_features: int
    first_order: float | None
    """The sum of its features' predicted effects."""
    predicted: float | None
    """By integrated gradients over its joint scaling."""
    measured: float | None
    control: float | None
    """What a matched random group of its size does; None where the prompt has too few features."""


@dataclass(frozen=True)
class Edge:
    """An edge tested, in units of its target."""

    source: int
    target: int
    names: tuple[str, str]
    control: bool
    share: float
    target_size: float
    """Σ|share| over everything that the target is made of: what makes edges to different targets comparable."""
    predicted_direct: float
    clean: float
    direct: float
    predicted_total: float
    total: float

    def verdicts(self) -> tuple[str, str]:
        """Of the direct and of the total effect; below 1e-4 of the target's size an effect is rounding."""
        from tasks.interventions.agreement import SMALLEST_EFFECT, verdict

        floor = SMALLEST_EFFECT * max(self.target_size, abs(self.clean))
        pairs = ((self.predicted_direct, self.direct), (self.predicted_total, self.total))
        direct, total = (str(verdict(predicted, measured, floor)) for predicted, measured in pairs)
        return direct, total

    def document(self) -> Document:
        """As JSON."""
        direct, total = self.verdicts()
        return {
            "source": self.names[0],
            "target": self.names[1],
            "control": self.control,
            "share": self.share,
            "effect": self.predicted_direct,
            "direct_effect": self.direct,
            "verdict": direct,
            "predicted_total": self.predicted_total,
            "total_effect": self.total,
            "verdict_total": total,
            "target_clean": self.clean,
            "target_size": self.target_size,
        }


@dataclass(frozen=True)
class Circuit:
    """The kept features as a circuit, and circuits of every size."""

    values: CircuitValues
    curves: dict[str, Curve]
    removal: str
    """What removed features became: zero, corrupt or mean."""
    n_features: int
    n_active: int


@dataclass(frozen=True)
class Result:
    """All measurements of one validation."""

    graph: int
    kept: Measured
    swapped: Measured | None
    controls: Measured
    write_size: Tensor
    """[kept]: |z · write| / |residual stream|."""
    groups: list[Group]
    edges: list[Edge]
    circuit: Circuit
    floor: float
    baseline: float
    probability: float | None
    metric: str
    seed: int
    leaves: dict[str, int]

    def save(self, project: Project, job_id: int) -> Document:
        """The rows of tables `effect`, `edge_effect` and `supernode_effect`, and the document."""
        from store import graphs
        from store.graphs import EdgeEffectRecord, EffectRecord, SupernodeEffectRecord

        db = project.db
        for kind, measured in (("ablation", self.kept), ("swap", self.swapped), ("control", self.controls)):
            rows = _effect_rows(measured.known(), self.floor) if measured is not None else []
            graphs.insert_effects(db, self.graph, job_id, (EffectRecord(kind, *row) for row in rows))
        edges = [
            EdgeEffectRecord(
                "control" if edge.control else "strongest", edge.source, edge.target, edge.predicted_direct,
                edge.direct, edge.predicted_total, edge.total, edge.verdicts()[0],
            )
            for edge in self.edges
            if edge.verdicts()[0] != "untested"
        ]  # fmt: skip
        graphs.insert_edge_effects(db, self.graph, job_id, edges)
        groups = [
            SupernodeEffectRecord(group.name, group.nodes, group.predicted, group.measured, self._verdict(group))
            for group in self.groups
            if group.predicted is not None and group.measured is not None and self._verdict(group) != "untested"
        ]
        graphs.insert_supernode_effects(db, self.graph, job_id, groups)
        return self.document()

    def document(self) -> Document:
        """What `validate --json` prints; every effect is baseline - edited, in nats of `metric`."""
        nodes = self._nodes()
        document = {
            "graph": self.graph,
            "metric": self.metric,
            "baseline": self.baseline,
            "probability": self.probability,
            "nodes": nodes,
            **self._agreements(),
            "swaps": None if self.swapped is None else self._agreement(self.swapped.predicted, self.swapped),
            "controls": self._agreement(self.controls.predicted, self.controls)
            | {"mean_absolute_effect": _mean_size(self.controls), "of_kept_features": _mean_size(self.kept)},
            "noise_floor": self.floor,
            "supernodes": [self._group_document(group) for group in self.groups],
            "edges": [edge.document() for edge in self.edges],
            "edge_agreement": edge_agreement(self.edges, self.seed),
            **self._circuit_document(),
            "verdicts": {name: [node["verdict"] for node in nodes].count(name) for name in VERDICTS},
            "untested_leaves": self.leaves,
            "marks": self._marks(nodes),
        }
        return document | {"summary": graph_summary(document)}

    def _agreements(self) -> Document:
        """The headline numbers, flat, and the same layer by layer."""
        predicted = self._agreement(self.kept.predicted, self.kept)
        share = self._agreement(self.kept.share, self.kept)
        flat = {}
        for name, found in (("predicted", predicted), ("influence", share)):
            for key in ("pearson", "spearman", "slope", "sign_agreement"):
                flat[f"{key}_{name}"] = found[key]
                flat[f"{key}_{name}_interval"] = found[f"{key}_interval"]
        return flat | {"layers": self._by_layer()}

    def _by_layer(self) -> list[Document]:
        documents = []
        for layer in self.kept.features.layer.unique().tolist():
            here = self.kept.take((self.kept.features.layer == layer).nonzero().squeeze(1))
            predicted, share = self._agreement(here.predicted, here), self._agreement(here.share, here)
            documents.append({"layer": layer, "predicted": predicted, "share": share})
        return documents

    def _agreement(self, predicted: Tensor, measured: Measured) -> Document:
        known = measured.effect.isfinite()
        left, right = (each[known].cpu().double().numpy() for each in (predicted, measured.effect))
        return agreement_document(left, right, self.seed, self.floor)

    def _nodes(self) -> list[Document]:
        from tasks.interventions.write_size import LARGE_WRITE

        swaps = None if self.swapped is None else zip(
            self.swapped.predicted.tolist(), self.swapped.effect.tolist(), strict=True
        )  # fmt: skip
        swapped = [None] * len(self.kept) if swaps is None else [{"predicted": p, "measured": m} for p, m in swaps]
        sizes, tested = self.write_size.tolist(), self.kept.tested.tolist()
        return [
            {
                "node": f"L{layer}/{index}@{position}",
                "activation": float(self.kept.features.activation[row]),
                "share": float(self.kept.share[row]),
                "predicted_effect": predicted,
                "measured_effect": effect if math.isfinite(effect) else None,
                "verdict": verdict,
                "failed": tested[row] and verdict == "untested",
                "below_noise": abs(effect) <= self.floor,
                "write_size": sizes[row],
                "large_write": sizes[row] > LARGE_WRITE,
                "swap": swapped[row],
            }
            for row, (layer, position, index, predicted, effect, verdict) in enumerate(
                _effect_rows(self.kept, self.floor)
            )
        ]

    def _marks(self, nodes: Sequence[Document]) -> Document:
        """How often something must be known beside a number."""
        others = [each for each in (self.swapped, self.controls) if each is not None]
        failed = sum(int((each.tested & ~each.effect.isfinite()).sum()) for each in (self.kept, *others))
        failed += sum(edge.verdicts()[0] == "untested" for edge in self.edges)
        return {
            "saturated": self.probability is not None and self.probability > SATURATED,
            "below_noise": sum(node["below_noise"] for node in nodes),
            "large_writes": sum(node["large_write"] for node in nodes),
            "failed_runs": failed,
        }

    def _verdict(self, group: Group) -> str:
        from tasks.interventions.agreement import Verdict, verdict

        if group.predicted is None or group.measured is None:
            return str(Verdict.UNTESTED)
        return str(verdict(group.predicted, group.measured, self.floor))

    def _group_document(self, group: Group) -> Document:
        return {
            "name": group.name,
            "features": group.n_features,
            "first_order": group.first_order,
            "predicted_effect": group.predicted,
            "measured_effect": group.measured,
            "control_effect": group.control,
            "verdict": self._verdict(group),
        }

    def _circuit_document(self) -> Document:
        values, curves = self.circuit.values, self.circuit.curves
        from tasks.interventions.faithfulness_curve import SIZES

        return {
            "faithfulness": values.faithfulness,
            "completeness": values.completeness,
            "circuit": asdict(values)
            | {
                "removal": self.circuit.removal,
                "features": self.circuit.n_features,
                "active_features": self.circuit.n_active,
            },
            "cpr": curves["predicted_effect"].cpr,
            "cmd": curves["predicted_effect"].cmd,
            "sizes": list(SIZES),
            "curves": {name: asdict(each) for name, each in curves.items()},
        }


def agreement_document(predicted: Any, measured: Any, seed: int, floor: float) -> Document:
    """An `Agreement` of two arrays with `NAME_interval` beside each number; signs count above the noise floor."""
    from tasks.interventions.agreement import agreement
    from tasks.interventions.bootstrap import intervals

    found = asdict(agreement(predicted, measured, floor))
    ends = asdict(intervals(predicted, measured, seed, floor=floor))
    return found | {
        f"{name}_interval": None if each is None or found[name] is None else list(each) for name, each in ends.items()
    }


def edge_agreement(edges: Sequence[Edge], seed: int) -> Document:
    """Direct effect and share against what was measured with all else held, the total derivative against all free.

    Numbers are divided by the size of their target, so that edges to logits and to features count alike.
    """
    import numpy as np

    from tasks.interventions.agreement import SMALLEST_EFFECT, within_factor

    documents: Document = {}
    for name, control in (("strongest", False), ("controls", True)):
        chosen = [edge for edge in edges if edge.control is control and edge.verdicts()[0] != "untested"]
        size = np.array([edge.target_size for edge in chosen])
        column = {
            key: np.array([getattr(edge, key) for edge in chosen], dtype=float) / size
            for key in ("predicted_direct", "share", "direct", "predicted_total", "total")
        }
        pairs = {
            "effect": (column["predicted_direct"], column["direct"]),
            "share": (column["share"], column["direct"]),
            "total": (column["predicted_total"], column["total"]),
        }
        documents[name] = {
            key: agreement_document(*pair, seed, SMALLEST_EFFECT) | {"within_factor_two": within_factor(*pair)}
            for key, pair in pairs.items()
        }
    return documents


def _mean_size(measured: Measured) -> float | None:
    known = measured.known()
    return float(known.effect.abs().mean()) if len(known) else None


def _effect_rows(measured: Measured, floor: float) -> list[tuple[int, int, int, float, float, str]]:
    """(layer, position, feature, predicted, measured, verdict) of each feature."""
    from tasks.interventions.agreement import verdict

    columns = (measured.features.layer, measured.features.position, measured.features.index)
    numbers = zip(*(c.tolist() for c in (*columns, measured.predicted, measured.effect)), strict=True)
    return [
        (*place, predicted, effect, str(verdict(predicted, effect, floor))) for *place, predicted, effect in numbers
    ]
