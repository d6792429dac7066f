"""The graphs of a behaviour's prompts, and what recurs among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import number
from workbench.tui.render.facts import plain_table
from workbench.tui.render.recurrence import recurrence_view
from workbench.tui.render.tokens import fit, show_text, show_token


def prompt_set_view(document: Mapping[str, Any], width: int, words: Mapping[tuple[int, int], str]) -> Group:
    """What `trace --behaviour` came to; `words` maps (layer, index) to what is known of a feature."""
    return Group(
        Text(show_text(document["behaviour"]), style="bold"),
        _graphs(document, width),
        Text(""),
        recurrence_view(document["recurrence"], width, words),
    )


def _graphs(document: Mapping[str, Any], width: int) -> Table:
    """One line a prompt: its graph, what it explains, whether the model predicts it, and the graph's scores."""
    table = plain_table("graph", "prompt", "explains", "p", "rank", "repl.", "compl.")
    for column in table.columns[3:]:
        column.justify = "right"
    for graph in document["graphs"]:
        rival = f" − {show_token(graph['rival'])}" if graph["rival"] else ""
        table.add_row(
            str(graph["graph"]),
            Text(fit(show_text(graph["prompt"]), max(width - 64, 12))),
            Text(show_token(graph["decisive"]) + rival),
            number(graph["probability"]),
            str(graph["rank"] + 1),
            number(graph["replacement_score"]),
            number(graph["completeness_score"]),
        )
    return table
