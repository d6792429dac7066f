"""A graph's claims beside what the real model did: the correlations first, then node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import number, signed
from workbench.tui.render.document import value_text
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text

GOOD_CORRELATION = 0.9
"""Below this Pearson of predicted and measured effects, a view says that the predictions do not hold."""


def validation_view(document: Mapping[str, Any], rows: int = 25) -> Group:
    """Agreement of predicted effect and of share with the measured effect (nats), then the `rows` largest effects."""
    nodes: Sequence[Mapping[str, Any]] = document["nodes"]
    largest = sorted(nodes, key=lambda node: -abs(node["measured_effect"] or 0.0))
    hidden = len(nodes) - min(rows, len(nodes))
    return Group(
        summary(document),
        Text(verdict(document["pearson_predicted"]), style="bold"),
        Text(""),
        node_table(largest[:rows]),
        Text(f"… {hidden} smaller" if hidden else "", style="dim"),
    )


def summary(document: Mapping[str, Any]) -> Table:
    """The validation in ten lines."""
    controls, circuit = document["controls"], document["circuit"]
    swaps = document["swaps"]
    return facts(
        {
            "metric": f"{show_text(document['metric'])}; unedited {number(document['baseline'])}",
            "features ablated": f"{len(document['nodes'])}: {value_text('', document['verdicts'])}",
            "predicted effect": _correlations(document, "predicted"),
            "share": _correlations(document, "influence"),
            "swapped in": None if swaps is None else f"Pearson {number(swaps['pearson'])} of {swaps['n']} features",
            "mean |effect|": f"{number(controls['of_kept_features'], 4)} of a kept feature, "
            f"{number(controls['mean_absolute_effect'], 4)} of a matched random one ({controls['n']}), nats",
            "faithfulness": f"{number(document['faithfulness'])} with the circuit's {circuit['features']} features "
            "alone (1 is the whole model)",
            "completeness": f"{number(document['completeness'])} without them (0 is complete)",
        }
    )


def node_table(nodes: Sequence[Mapping[str, Any]]) -> Table:
    """One line a feature: share, predicted and measured effect (nats), verdict."""
    table = plain_table("node", "share", "predicted", "measured", right=1)
    table.add_column(Text("verdict"))
    for node in nodes:
        numbers = (signed(node[key]) for key in ("share", "predicted_effect", "measured_effect"))
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
    pearson, spearman = document[f"pearson_{name}"], document[f"spearman_{name}"]
    return f"Pearson {number(pearson)}  Spearman {number(spearman)} with the measured effect"
