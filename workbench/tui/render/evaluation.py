"""The replacement model's quality: one line a layer, the layers together, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import bar, percent
from workbench.tui.render.document import records_table
from workbench.tui.render.facts import facts
from workbench.tui.render.tokens import show_text

_COLUMNS = {
    "layer": "layer",
    "fvu": "FVU",
    "l0": "L0",
    "dead_share": "dead",
    "ce_recovered": "CE recovered",
    "kl_recovered": "KL recovered",
}
GOOD_RECOVERY = 0.9
"""Below this share of CE or KL recovered, a view says that the replacement is not faithful."""


def evaluation_view(document: Mapping[str, Any]) -> Group:
    """FVU (share of variance missed), L0 (features a token), dead share, CE and KL recovered (1 is the model)."""
    layers = document["layers"]
    joint = document["joint"]
    return Group(
        facts({"dictionary": document["dictionary"], "held-out tokens": document.get("tokens")}),
        records_table(layers, _COLUMNS),
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
