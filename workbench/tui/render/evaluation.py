"""The replacement model's quality: one line a layer, the layers together, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from workbench.tui.render.bars import bar, number, percent
from workbench.tui.render.document import records_table
from workbench.tui.render.facts import facts
from workbench.tui.render.features import sparkline
from workbench.tui.render.tokens import show_text

_COLUMNS = {
    "layer": "layer",
    "fvu": "FVU",
    "l0": "L0",
    "dead_share": "dead",
    "ce_recovered": "CE recovered",
    "kl_recovered": "KL recovered",
}
_NEURON_COLUMNS = {
    "layer": "layer",
    "l0": "neurons",
    "fvu": "FVU",
    "ce_recovered": "CE recovered",
    "needed_for_fvu": "for the set's FVU",
    "mean_ce": "CE, mean",
}
GOOD_RECOVERY = 0.9
"""Below this share of CE or KL recovered, a view says that the replacement is not faithful."""


def evaluation_view(document: Mapping[str, Any]) -> Group:
    """FVU (share of variance missed), L0 (features a token), dead share, CE and KL recovered (1 is the model).

    Beside it the neurons: the largest of them, as many a token as the set has features, and how many it takes to miss
    as little as the set; and how often features are active.
    """
    layers = document["layers"]
    joint = document["joint"]
    return Group(
        facts({"dictionary": document["dictionary"], "held-out tokens": document.get("tokens")}),
        records_table(layers, _COLUMNS),
        *_neurons(layers, joint),
        *_densities(layers),
        Text(""),
        Text(f"all {len(layers)} layers at once  {_recovery('CE', joint)}  {_recovery('KL', joint)}"),
        Text(show_text(verdict(joint["ce_recovered"], joint["kl_recovered"])), style="bold"),
    )


def verdict(ce_recovered: float | None, kl_recovered: float | None) -> str:
    """What a person may conclude from what is recovered with all layers replaced: the worse of CE and KL decides."""
    if ce_recovered is None or kl_recovered is None:
        return "recovery could not be computed: the ablated model is no worse than the whole one"
    recovered = f"{percent(ce_recovered)} of the CE and {percent(kl_recovered)} of the KL are recovered"
    if min(ce_recovered, kl_recovered) >= GOOD_RECOVERY:
        return f"faithful enough to read: {recovered}"
    return f"not faithful: with these layers replaced together, {recovered}"


def _recovery(name: str, joint: Mapping[str, Any]) -> str:
    share = joint[f"{name.lower()}_recovered"]
    return f"{name} recovered –" if share is None else f"{name} recovered {share:.3f} {bar(share, 10)}"


def _neurons(layers: Sequence[Mapping[str, Any]], joint: Mapping[str, Any]) -> list[RenderableType]:
    """The largest neurons in place of the set: nothing for a document that does not have them."""
    rows = [
        {"layer": layer["layer"], "mean_ce": layer["beside"]["mean"].get("ce_recovered")}
        | layer["beside"]["largest_neurons"]
        for layer in layers
        if "beside" in layer
    ]
    if not rows:
        return []
    together = joint.get("beside", {}).get("largest_neurons", {}).get("ce_recovered")
    told = "" if together is None else f"; all layers at once, they recover {number(together)} of the CE"
    return [
        Text(f"\nbeside it, the largest neurons (as many a token as L0) and the mean of h{told}", style="dim"),
        records_table(rows, _NEURON_COLUMNS),
    ]


def _densities(layers: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """How many features are active on which share of tokens, a row of marks a layer."""
    known = [layer for layer in layers if "density_histogram" in layer]
    if not known:
        return []
    edges = known[0]["density_histogram"]["log10_edges"]
    lines = [Text(f"\nfeatures by density, from 1e{edges[0]:.0f} to 1e{edges[-1]:.0f} of tokens", style="dim")]
    for layer in known:
        n_tokens = layer["dead_window_tokens"]
        marks = sparkline(layer["density_histogram"]["features"])
        dead = f"{percent(layer['dead_share'])} on none of {n_tokens} tokens"
        lines.append(Text(f"{layer['layer']:>5}  ▕{marks}▏ {dead}"))
    return list(lines)
