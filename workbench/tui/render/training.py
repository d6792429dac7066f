"""A trained set: one line a layer with bottleneck and quality, and its curves against the tokens seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import duration, number
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
_CURVES = {"loss": "loss", "fvu": "FVU", "l0": "L0", "dead_share": "dead", "ce_recovered": "CE rec."}
_STEPS = "▁▂▃▄▅▆▇█"
_MOST_COLUMNS = 50
_BESIDE = 32
"""Columns that the names and figures beside a curve take."""
_GIB = 1 << 30


def training_view(document: Mapping[str, Any], width: int = 80) -> Group:
    """Features, bottleneck k, L0, FVU in h and in W_down h (shares of variance), dead share, tokens, time; curves."""
    about = facts(
        {
            "dictionary": document["dictionary"],
            "objective": document["objective"],
            "took": duration(document["seconds"]) if "seconds" in document else None,
            **_plan_facts(document.get("plan") or {}),
        }
    )
    parts = [about, Text(""), records_table(document["layers"], _COLUMNS)]
    for layer in document["layers"]:
        if (layer.get("curve") or {}).get("tokens"):
            parts += [Text(""), curves(f"layer {layer['layer']}", layer["curve"], width)]
    return Group(*parts)


def curves(title: str, curve: Mapping[str, Sequence[float | None]], width: int) -> Text:
    """Each measure of held-out tokens against the tokens seen, with its first and last value."""
    columns = max(8, min(width - _BESIDE, _MOST_COLUMNS))
    seen = [tokens for tokens in curve["tokens"] if tokens is not None]
    lines = [f"{title}, held out, against {seen[-1]:.0f} tokens seen"]
    for name, heading in _CURVES.items():
        values = curve.get(name) or []
        known = [value for value in values if value is not None]
        if known:
            line = sparkline(values, columns)
            lines.append(f"{heading:>8} {line:<{columns}} {number(known[0]):>7} → {number(known[-1])}")
    return Text("\n".join(lines), no_wrap=True, overflow="crop")


def sparkline(values: Sequence[float | None], columns: int) -> str:
    """Blocks of eight heights from the lowest value to the highest; a gap where there is none. The last of each column
    stands for it."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    columns = min(columns, len(values))
    cells = []
    for column in range(columns):
        first, last = (len(values) * edge // columns for edge in (column, column + 1))
        here = [value for value in values[first:last] if value is not None]
        height = 0.0 if not here or high == low else (here[-1] - low) / (high - low)
        cells.append(_STEPS[round(height * (len(_STEPS) - 1))] if here else " ")
    return "".join(cells)


def _plan_facts(plan: Mapping[str, Any]) -> dict[str, str]:
    """Estimated beside measured."""
    if not plan:
        return {}
    both = [plan["estimated"], plan["measured"]]
    memory, disk = ([f"{each[key] / _GIB:.2f} GiB" for each in both] for key in ("memory_bytes", "disk_bytes"))
    times = [duration(each["seconds"]) for each in both]
    said = {"memory": memory, "disk": disk, "time": times}
    told = {name: f"{expected} expected, {taken} taken" for name, (expected, taken) in said.items()}
    return told | {"groups": str(len(plan["groups"]))}
