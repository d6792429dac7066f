"""The scores of a graph and of its parts, one line a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import bar, number, percent
from workbench.tui.render.facts import facts, plain_table

_PARTS = ("whole", "pruned", "chosen")
_BAR_CELLS = 6


def score_view(document: Mapping[str, Any]) -> Group:
    """Replacement and completeness of the whole, of the pruned graph, and of what was chosen."""
    table = plain_table("", "features", "edges", right=1)
    for heading in ("replacement", "completeness"):
        table.add_column(Text(heading))
    table.add_column(Text("renormalised"), justify="right")
    for part in _PARTS:
        if document[part] is not None:
            table.add_row(Text(part), *_cells(document[part]))
    about = facts(
        {
            "graph": document["graph"],
            "closing error": number(document["closing_error"]),
            "unattributed share": percent(document["unattributed_share"]),
            "unreplaced share": percent(document["unreplaced_share"]),
        }
    )
    legend = "Features that are left out count as error; renormalised: they are forgotten, as on Neuronpedia's page."
    return Group(about, Text(""), table, Text(f"\n{legend}", style="dim"))


def _cells(part: Mapping[str, Any]) -> list[Text]:
    scores = [
        Text(f"{part[name]:.3f} ").append(bar(part[name], _BAR_CELLS), style="green")
        for name in ("replacement_score", "completeness_score")
    ]
    names = ("renormalised_replacement_score", "renormalised_completeness_score")
    renormalised = "  ".join(f"{part[name]:.3f}" for name in names)
    return [Text(str(part["features"])), Text(str(part["edges"])), *scores, Text(renormalised)]
