"""Features in lists: a table for the command line, and one line a feature for the app."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from store.features import FeatureRow
from workbench.tui.render.bars import number, percent, signed
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import fit, show_text, show_token

STAR = "★"
_SPARKS = " ▁▂▃▄▅▆▇█"
_NAME, _DENSITY, _NUMBER = 13, 9, 9
"""Cells of a list's columns."""


def feature_table(features: Sequence[Mapping[str, Any]]) -> Table:
    """One line a feature: name, density (share of tokens), largest activation, and its label or promoted tokens.

    In a search of a graph also its activation there, with the position, and its predicted effect there in nats.
    """
    in_graph = any("activation" in feature for feature in features)
    extra = ("active at", "effect/nats") if in_graph else ()
    table = plain_table("dictionary", "feature", "density", "max", *extra, "about")
    for feature in features:
        numbers = [number(feature.get("density"), 4), number(feature.get("maximum"), 2)]
        if in_graph:
            numbers += [_active_at(feature), signed(feature.get("predicted_effect"))]
        name = show_text(str(feature.get("dictionary", "")))
        table.add_row(*map(Text, (name, show_text(str(feature["feature"])), *numbers, _about(feature))))
    return table


def list_heading(width: int, in_graph: bool = False) -> Text:
    """The names and units of the columns of `feature_line`."""
    line = f"  {'feature':{_NAME}}{'density':>{_DENSITY}}{'maximum':>{_NUMBER}}"
    if in_graph:
        line += f"{'active':>{_NUMBER}}{'effect':>{_NUMBER}}"
    about = "label, or fires on → promotes" if not in_graph else "(effect: predicted, nats)  label, or fires on"
    return Text(fit(f"{line}  {about}", width), style="dim", no_wrap=True)


def feature_line(row: FeatureRow, width: int, activity: tuple[float, float] | None = None) -> Text:
    """`★ L14/345   0.78 %  21.02  capital cities`, in at most `width` cells.

    `activity` is (activation, predicted effect in nats) in the graph that is searched.
    """
    line = Text(f"{STAR if row.starred else ' '} ", no_wrap=True)
    line.append(fit(row.name, _NAME - 1).ljust(_NAME), style="bold")
    line.append(f"{percent(row.density, 2):>{_DENSITY}}{number(row.maximum, 2):>{_NUMBER}}")
    if activity is not None:
        line.append(f"{number(activity[0], 2):>{_NUMBER}}{signed(activity[1]):>{_NUMBER}}")
    line.append("  ")
    room = max(width - cell_len(line.plain), 0)
    if row.label:
        score = "" if row.label_score is None else f"{number(row.label_score, 2)} "
        return line.append(score, style="dim").append(fit(show_text(row.label), max(room - len(score), 0)))
    if not row.maximum:
        return line.append(fit("silent", room), style="dim")
    return line.append(fit(about(row.fires_on, [token for token, *_ in row.promoted]), room), style="dim")


def neighbours_view(document: Mapping[str, Any], width: int) -> Group:
    """What is like a feature: by decoder cosine in its layer, by promoted tokens in common in the others."""
    name = show_text(f"{document['dictionary']} {document['feature']}")
    parts = [
        Text(name, style="bold"),
        Text(f"\nin layer {document['layer']}, by cosine of decoder rows", style="dim"),
        *(neighbour_line(row, width) for row in document["by_decoder"]),
        Text("\nin other layers, by promoted tokens in common", style="dim"),
        *(neighbour_line(row, width) for row in document["by_tokens"]),
    ]
    if not document["by_tokens"]:
        parts.append(Text("none has two"))
    return Group(*parts)


def neighbour_line(row: Mapping[str, Any], width: int) -> Text:
    """`0.871  L14/345   0.78 %  capital cities`: how like it is (a cosine, or tokens in common), and what it is."""
    shared = row.get("tokens_in_common")
    likeness = number(row["cosine"], 3) if shared is None else f"{shared} of {len(row['promoted'])}"
    line = f"{likeness:>8}  {show_text(str(row['feature'])):{_NAME}}{percent(row['density'], 2):>{_DENSITY}}  "
    return Text(fit(line + _about(row), width), no_wrap=True)


def token_list(pairs: Sequence[Sequence[Any]]) -> str:
    """`·Paris +1.23  ·France +0.98`: tokens with their logits, inert."""
    return "  ".join(f"{show_token(str(token))} {_logit(value)}".rstrip() for token, value in pairs)


def sparkline(counts: Sequence[float]) -> str:
    """Counts as one row of eighth blocks, the largest full; an empty bin is a blank."""
    top = max(counts, default=0)
    return "".join(_SPARKS[math.ceil(8 * count / top) if top else 0] for count in counts)


def _logit(value: float | None) -> str:
    """`+1.23`; nothing where an imported file does not say it."""
    return "" if value is None or math.isnan(value) else f"{value:+.2f}"


def _active_at(feature: Mapping[str, Any]) -> str:
    if "activation" not in feature:
        return "–"
    return f"{number(feature['activation'], 2)} @{feature['position']}"


def _about(feature: Mapping[str, Any]) -> str:
    if feature.get("label"):
        score = feature.get("label_score")
        return ("" if score is None else f"{number(score, 2)} ") + show_text(str(feature["label"]))
    return about(feature.get("fires_on", []), [token for token, *_ in feature.get("promoted", [])])


def about(fires_on: Sequence[str], promoted: Sequence[str], most: int = 4) -> str:
    """`·Paris ·France → ·French`: the tokens that an unlabelled feature is strongest on, and those it promotes."""
    on = " ".join(show_token(str(token)) for token in fires_on[:most])
    to = " ".join(show_token(str(token)) for token in promoted[:most])
    return f"{on} → {to}".strip() if to else on
