"""A graph's claims beside what the real model did: the correlations first, then node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import MINUS, bar, number, percent, signed
from workbench.tui.render.document import value_text
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text

GOOD_CORRELATION = 0.9
"""Below this Pearson of predicted and measured effects, a view says that the predictions do not hold."""


def validation_view(document: Mapping[str, Any], rows: int = 25) -> Group:
    """What `validate` measured: of a graph, or of a behaviour."""
    return behaviour_view(document) if "behaviour" in document else _graph_view(document, rows)


def _graph_view(document: Mapping[str, Any], rows: int) -> Group:
    """Agreement of predicted effect and of share with the measured effect (nats), then the `rows` largest effects."""
    nodes: Sequence[Mapping[str, Any]] = document["nodes"]
    largest = sorted(nodes, key=lambda node: -abs(node["measured_effect"] or 0.0))
    hidden = len(nodes) - min(rows, len(nodes))
    return Group(
        summary(document),
        Text(""),
        Text(show_text(document["summary"]), style="bold"),
        Text(""),
        curve_table(document),
        Text(""),
        *_tested_edges(document),
        *_supernodes(document["supernodes"]),
        node_table(largest[:rows]),
        Text(f"… {hidden} smaller" if hidden else "", style="dim"),
    )


def curve_table(document: Mapping[str, Any]) -> Table:
    """Faithfulness of circuits of every size, a line a size and a column a ranking, with the areas below."""
    curves: Mapping[str, Mapping[str, Any]] = document["curves"]
    headings = ["at random" if name == "random" else "by " + show_text(name).replace("_", " ") for name in curves]
    table = plain_table("circuit, of active features", *headings)
    for row, size in enumerate(document["sizes"]):
        cells = (_curve_cell(curve["faithfulness"][row]) for curve in curves.values())
        table.add_row(f"the top {percent(size)}", *cells)
    for key, words in (("cpr", "CPR, area under it"), ("cmd", "CMD, area from 1")):
        table.add_row(words, *(f"{_fixed(curve[key], 3)}" for curve in curves.values()))
    return table


def _curve_cell(height: float | None) -> str:
    """f in two digits and as a bar, the whole model full; ↑ well above the whole, no bar below nothing."""
    drawn = "" if height is None else bar(height, 8).rstrip() + ("↑" if height > 1 + 1 / 8 else "")
    return f"{_fixed(height, 2):>6} {drawn}"


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def _tested_edges(document: Mapping[str, Any]) -> list[Table | Text]:
    """How well the strongest edges, and random ones, predict what the source's removal does to the target."""
    agreements = document["edge_agreement"]
    if not any(found["effect"]["n"] for found in agreements.values()):
        return []
    table = plain_table("edges", "tested", "number", "Pearson", "Spearman", "slope", "within ×2")
    for column in table.columns[1:]:
        column.justify = "right"
    for which, words in (("strongest", "strongest"), ("controls", "random kept")):
        for name, means in (
            ("effect", "effect, rest held"),
            ("share", "share, rest held"),
            ("total", "total, rest free"),
        ):
            found = agreements[which][name]
            cells = (number(found[key]) for key in ("pearson", "spearman", "slope"))
            table.add_row(words, str(found["n"]), means, *cells, percent(found["within_factor_two"], 0))
    return [table, Text("")]


def _supernodes(groups: Sequence[Mapping[str, Any]]) -> list[Table | Text]:
    """Each supernode removed as one, beside the sum of its features' predictions and a random group."""
    if not groups:
        return []
    table = plain_table("supernode", "features", "sum", "predicted", "measured", "random", right=1)
    table.add_column(Text("verdict"))
    for group in groups:
        keys = ("first_order", "predicted_effect", "measured_effect", "control_effect")
        numbers = (signed(group[key]) for key in keys)
        cells = (show_text(group["name"]), str(group["features"]), *numbers, show_text(group["verdict"]))
        table.add_row(*map(Text, cells))
    return [table, Text("")]


def behaviour_view(document: Mapping[str, Any]) -> Group:
    """The recurring features of a behaviour removed, beside random ones, on both parts of its prompts."""
    table = plain_table("prompts", "features removed", "accuracy", "logit difference")
    for column in table.columns[2:]:
        column.justify = "right"
    for name, words in (("found_on", "picked from"), ("held_out", "held out")):
        effects = document["effects"][name]
        if effects is None:
            continue
        removed = [("none", effects), (f"{document['recurring']} recurring", effects["ablated"])]
        counts = document["random_features"]
        removed += [(f"{n} random", draw) for n, draw in zip(counts, effects["random"], strict=True)]
        for what, outcome in removed:
            prompts = f"{effects['prompts']} {words}" if what == "none" else ""
            table.add_row(prompts, what, number(outcome["accuracy"], 2), number(outcome["logit_difference"]))
    layers = " ".join(f"L{layer} {n}" for layer, n in document["features_by_layer"].items())
    about = {
        "behaviour": f"{show_text(document['behaviour'])} in {show_text(document['dictionary'])}",
        "features": f"{document['recurring']} by {document['alignment']}: {layers}",
        "removed features become": document["removal"],
    }
    return Group(
        facts(about), Text(""), Text(show_text(document["summary"]), style="bold"), Text(""), table, Text(""),
        curve_table(document), Text(""), _feature_table(document["features"]),
    )  # fmt: skip


def _feature_table(features: Sequence[Mapping[str, Any]], rows: int = 15) -> Table:
    table = plain_table("feature", "prompts", "expected", "mean effect", right=1)
    for each in features[:rows]:
        cells = (percent(each["frequency"], 0), percent(each["expected_frequency"], 0))
        table.add_row(Text(show_text(each["feature"])), *cells, signed(each["mean_predicted_effect_nats"]))
    return table


def summary(document: Mapping[str, Any]) -> Table:
    """The validation in ten lines."""
    controls, circuit = document["controls"], document["circuit"]
    swaps, marks, leaves = document["swaps"], document["marks"], document["untested_leaves"]
    return facts(
        {
            "metric": f"{show_text(document['metric'])}; unedited {number(document['baseline'])}",
            "features ablated": f"{len(document['nodes'])}: {value_text('', document['verdicts'])}",
            "not ablated": f"{leaves['errors']} errors, {leaves['tokens']} tokens",
            "marked": value_text("", marks),
            "predicted effect": _correlations(document, "predicted"),
            "share": _correlations(document, "influence"),
            "swapped in": None if swaps is None else f"Pearson {number(swaps['pearson'])} of {swaps['n']} features",
            "mean |effect|": f"{number(controls['of_kept_features'], 4)} of a kept feature, "
            f"{number(controls['mean_absolute_effect'], 4)} of a matched random one ({controls['n']}), nats",
            "faithfulness": f"{number(document['faithfulness'])} with the circuit's {circuit['features']} features "
            f"alone (1 is the whole model; removed: {circuit['removal']})",
            "completeness": f"{number(document['completeness'])} without them (0 is complete)",
        }
    )


def node_table(nodes: Sequence[Mapping[str, Any]]) -> Table:
    """One line a feature: share, predicted and measured effect (nats), verdict, and what must be known beside it."""
    table = plain_table("node", "share", "predicted", "measured", right=1)
    table.add_column(Text("verdict"))
    for node in nodes:
        numbers = (signed(node[key]) for key in ("share", "predicted_effect", "measured_effect"))
        words = ", ".join([str(node["verdict"]), *(mark for key, mark in _MARKS.items() if node.get(key))])
        table.add_row(*map(Text, (show_text(str(node["node"])), *numbers, show_text(words))))
    return table


_MARKS = {"large_write": "large write", "failed": "run failed"}
"""Key of a node's document -> what its line says beside the verdict."""


def verdict(pearson: float | None) -> str:
    """What a person may conclude from the correlation of predicted and measured effects."""
    if pearson is None:
        return "no correlation can be computed"
    if pearson >= GOOD_CORRELATION:
        return f"the predicted effects hold in the real model (Pearson {pearson:.3f})"
    return f"not faithful: the predicted effects do not hold in the real model (Pearson {pearson:.3f})"


def _correlations(document: Mapping[str, Any], name: str) -> str:
    numbers = (
        f"{words} {number(document[f'{key}_{name}'])}{_interval(document[f'{key}_{name}_interval'])}"
        for key, words in (("pearson", "Pearson"), ("spearman", "Spearman"))
    )
    return "  ".join(numbers)


def _interval(ends: Sequence[float] | None) -> str:
    """` [0.991, 0.999]`, nothing where there is none."""
    return f" [{number(ends[0])}, {number(ends[1])}]" if ends else ""
