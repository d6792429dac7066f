"""Supernodes, one line each: what their members give together, and who they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from workbench.tui.render.bars import signed
from workbench.tui.render.tokens import fit, show_text

_NAME_CELLS = 28


def supernode_view(document: Mapping[str, Any], width: int) -> Text:
    """A line a supernode, the largest |share| first, on `width` columns."""
    rows = sorted(document["supernodes"], key=lambda row: -abs(row["share"]))
    lines = [Text(f"{'share':>8} {'effect':>8}  members", style="dim")] if rows else []
    lines += [_line(row, width) for row in rows]
    count = len(rows)
    words = f"{count} supernode{'s' * (count != 1)}, {document['alone']} features in none"
    return Text("\n").join([Text(words, style="bold"), *lines])


def _line(row: Mapping[str, Any], width: int) -> Text:
    line = Text(f"{signed(row['share']):>8} {signed(row['predicted_effect']):>8} {len(row['members']):>4}  ")
    name = fit(show_text(row["name"]), _NAME_CELLS)
    line.append(name + " " * (_NAME_CELLS - cell_len(name)), style="bold")
    line.append("  " + fit(show_text(" ".join(row["members"])), max(width - line.cell_len - 2, 1)), style="dim")
    return line
