"""A trained set: one line a layer, with the bottleneck and how well it reconstructs held-out tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import duration
from workbench.tui.render.document import records_table
from workbench.tui.render.facts import facts

_COLUMNS = {
    "layer": "layer",
    "n_features": "features",
    "bottleneck": "k",
    "l0": "L0",
    "fvu": "FVU h",
    "fvu_output": "FVU out",
    "dead_share": "dead",
    "tokens": "tokens",
    "wall_seconds": "took",
}


def training_view(document: Mapping[str, Any]) -> Group:
    """Features, bottleneck k, L0, FVU in h and in W_down h (shares of variance), dead share, tokens, time."""
    about = facts(
        {
            "dictionary": document["dictionary"],
            "objective": document["objective"],
            "took": duration(document["seconds"]) if "seconds" in document else None,
        }
    )
    return Group(about, Text(""), records_table(document["layers"], _COLUMNS))
