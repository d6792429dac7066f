"""A graph's claims beside what the real model did: the correlations first, then node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import number, percent, signed
from workbench.tui.render.document import value_text
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text

GOOD_CORRELATION = 0.9
"""Below this Pearson of predicted and measured effects, a view says that the predictions do not hold."""


def validation_view(document: Mapping[str, Any], rows: int = 25) -> Group:
    """Correlations of predicted effect and of influence with the measured effect, then the `rows` largest effects."""
    nodes: Sequence[Mapping[str, Any]] = document["nodes"]
    largest = sorted(nodes, key=lambda node: -abs(node["measured_effect"] or 0.0))
    summary = facts(
        {
            "features tested": len(nodes),
            "predicted effect": _correlations(document, "predicted"),
            "influence (share)": _correlations(document, "influence"),
            "random controls": value_text("", document.get("controls")),
            "circuit faithfulness": value_text("", document.get("faithfulness")),
        }
    )
    hidden = len(nodes) - min(rows, len(nodes))
    return Group(
        summary,
        Text(verdict(document.get("pearson_predicted")), style="bold"),
        Text(""),
        node_table(largest[:rows]),
        Text(f"… {hidden} smaller" if hidden else "", style="dim"),
    )


def node_table(nodes: Sequence[Mapping[str, Any]]) -> Table:
    """One line a feature: share of the logit, predicted and measured effect (nats), verdict."""
    table = plain_table("node", "share", "predicted", "measured", right=1)
    table.add_column(Text("verdict"))
    for node in nodes:
        numbers = (percent(node["share"]), signed(node["predicted_effect"]), signed(node["measured_effect"]))
        table.add_row(*map(Text, (show_text(str(node["node"])), *numbers, show_text(str(node["verdict"])))))
    return table


def verdict(pearson: float | None) -> str:
    """What a person may conclude from the correlation of predicted and measured effects."""
    if pearson is None:
        return "no correlation can be computed"
    if pearson >= GOOD_CORRELATION:
        return f"the predicted effects hold in the real model (Pearson {pearson:.3f})"
    return f"not faithful: the predicted effects do not hold in the real model (Pearson {pearson:.3f})"


def _correlations(document: Mapping[str, Any], name: str) -> str:
    return f"Pearson {number(document.get(f'pearson_{name}'))}  Spearman {number(document.get(f'spearman_{name}'))}"
