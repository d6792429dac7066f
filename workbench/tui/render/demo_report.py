"""The demonstration's report: the documents of its steps as numbers with units, and what they mean in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from workbench.tui.render import evaluation, validation
from workbench.tui.render.bars import duration, number, percent
from workbench.tui.render.baseline import behaviour_table
from workbench.tui.render.features import feature_table
from workbench.tui.render.report import Figure, Section

Document = Mapping[str, Any]
GOOD_FAITHFULNESS = 0.8
"""Below this part of the behaviour carried by the circuit alone, the report says that the circuit is not faithful."""
_FEATURES_SHOWN = 5


def section(kind: str, title: str, command: str, document: Document, views: Sequence[RenderableType] = ()) -> Section:
    """One step's section; `views` follow its numbers."""
    figures, remarks, own_views = _CONTENT[kind](document)
    if "seconds" in document:
        figures = [*figures, Figure("took", duration(document["seconds"]))]
    return Section(title, command, figures, remarks, [*own_views, *views])


Content = tuple[list[Figure], list[str], list[RenderableType]]


def _baseline(document: Document) -> Content:
    behaviours = document["behaviours"]
    can = [behaviour for behaviour in behaviours if not behaviour["lacking"]]
    remarks = ["p: probability of the decisive token; clean, corrupt: logit difference to its rival, nats (means)"]
    return (
        [Figure("behaviours the model has", f"{len(can)} of {len(behaviours)}")],
        remarks,
        [behaviour_table(document)],
    )


def _capture(document: Document) -> Content:
    figures = [
        Figure("training tokens", str(document["train_tokens"]), "tokens a layer"),
        Figure("validation tokens", str(document["validation_tokens"]), "tokens a layer, other documents"),
        Figure("activations on disk", f"{document['bytes'] / 1e6:.0f}", f"MB, layers {_words(document['layers'])}"),
    ]
    return figures, [], []


def _train(document: Document) -> Content:
    layers = document["layers"]
    figures = [
        Figure("features (bottleneck)", str(layers[0]["n_features"]), f"a layer, {len(layers)} layers"),
        Figure("active at a token (L0)", number(_mean(layers, "l0"), 1), "features, mean"),
        Figure("variance missed (FVU of h)", _range(layers, "fvu"), "share, held-out documents, by layer"),
        Figure("dead features", _range(layers, "dead_share"), "share, by layer"),
    ]
    return figures, [], []


def _evaluate(document: Document) -> Content:
    joint, layers = document["joint"], document["layers"]
    figures = [
        Figure("CE recovered, one layer", _range(layers, "ce_recovered"), "share of the loss that ablation costs"),
        Figure("CE recovered, all at once", number(joint["ce_recovered"]), "share"),
        Figure("KL recovered, all at once", number(joint["kl_recovered"]), "share"),
    ]
    return figures, [evaluation.verdict(joint["ce_recovered"], joint["kl_recovered"])], []


def _index(document: Document) -> Content:
    figures = [
        Figure("features described", str(document["features"])),
        Figure("tokens read", str(document["tokens"]), "tokens"),
    ]
    return figures, [], []


def _search(document: Document) -> Content:
    features = document["features"]
    if not features:
        return [], ["no feature was found"], []
    return [Figure("features found", str(len(features)))], [], [feature_table(features[:_FEATURES_SHOWN])]


def _trace(document: Document) -> Content:
    figures = [
        Figure("closing error", f"{document['closing_error']:.1e}", "relative, largest of all rows"),
        Figure("replacement score", number(document["replacement_score"]), "of 1"),
        Figure("completeness score", number(document["completeness_score"]), "of 1"),
        Figure("kept nodes", str(document["kept_nodes"]), f"of {document['nodes']}"),
        Figure("kept edges", str(document["kept_edges"]), f"of {document['edges']}"),
    ]
    return figures, [], []


def _validate(document: Document) -> Content:
    controls = document["controls"]
    figures = [
        Figure("features ablated", str(len(document["nodes"]))),
        Figure("predicted effect vs measured", number(document["pearson_predicted"]), "Pearson"),
        Figure("share vs measured", number(document["pearson_influence"]), "Pearson"),
        Figure("mean |effect|, kept feature", number(controls["of_kept_features"], 4), "nats"),
        Figure("mean |effect|, random control", number(controls["mean_absolute_effect"], 4), f"nats, {controls['n']}"),
        Figure("faithfulness, circuit alone", number(document["faithfulness"]), "1: the whole behaviour"),
        Figure("completeness, circuit removed", number(document["completeness"]), "0: nothing is left"),
    ]
    if document["swaps"] is not None:
        figures.insert(3, Figure("swap-in predicted vs measured", number(document["swaps"]["pearson"]), "Pearson"))
    remarks = [validation.verdict(document["pearson_predicted"]), circuit_verdict(document["faithfulness"])]
    return figures, remarks, []


def circuit_verdict(faithfulness: float | None) -> str:
    """What a person may conclude from the circuit's faithfulness."""
    if faithfulness is None:
        return "faithfulness could not be computed: removing every feature changes nothing"
    if abs(1 - faithfulness) <= 1 - GOOD_FAITHFULNESS:
        return f"the circuit alone carries the behaviour ({percent(faithfulness, 0)})"
    return (
        f"not faithful: the circuit alone gives {percent(faithfulness, 0)} of the behaviour; what it leaves out matters"
    )


def _pack(document: Document) -> Content:
    figures = [Figure("files", str(document["files"])), Figure("size", f"{document['bytes'] / 1e6:.1f}", "MB")]
    return figures, [], []


def _verify(document: Document) -> Content:
    tolerance = document["tolerance"]
    figures = [
        Figure("files with the right hash", str(document["files"])),
        Figure("numbers computed again", str(document["numbers"])),
        Figure(
            "outside the tolerance", str(document["moved"]), f"of {tolerance['absolute']} + {tolerance['relative']}·|x|"
        ),
    ]
    words = "verified" if document["verified"] else "not verified: numbers moved, `workbench verify --json` names them"
    return figures, [words], []


_CONTENT: dict[str, Callable[[Document], Content]] = {
    "baseline": _baseline,
    "capture": _capture,
    "train": _train,
    "evaluate": _evaluate,
    "index": _index,
    "features search": _search,
    "trace": _trace,
    "validate": _validate,
    "pack": _pack,
    "verify": _verify,
}


def _mean(layers: Sequence[Document], key: str) -> float:
    return float(sum(layer[key] for layer in layers) / len(layers))


def _range(layers: Sequence[Document], key: str) -> str:
    values = [layer[key] for layer in layers if layer[key] is not None]
    shown = percent if key.endswith("_share") else number
    return f"{shown(min(values))} to {shown(max(values))}" if values else "–"


def _words(values: Sequence[Any]) -> str:
    return " ".join(map(str, values))
