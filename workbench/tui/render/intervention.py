"""What edits did: the decisive token and its rival before and after, what moved, the text, and the curve over doses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import bar, number, percent, signed
from workbench.tui.render.curve import Curve, curve_plot, legend
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import fit, show_text, show_token

_MOST_EDITS = 12
_MOST_TOKENS = 12
_WIDE_MOVERS = 84
_FORETELLING = 56
_HELD = {
    "none": "everything live",
    "attention": "attention patterns of the unmodified prompt held",
    "direct": "direct effects: attention patterns, norms and MLP outputs held",
}


def intervention_view(document: Mapping[str, Any], width: int) -> Group:
    """The document of `workbench intervene`: changes are after - before, in nats where they are of logits."""
    parts: list[RenderableType] = [
        _what_was_edited(document),
        Text(""),
        outcome_table(document),
        *_warnings(document),
        Text(""),
        top_table(document, width),
        Text(""),
        movers_table(document["movers"], width),
        Text(""),
        _continuations(document),
    ]
    if document["sweep"] is not None:
        parts += [Text(""), *dose_view(document, width)]
    return Group(*parts)


def outcome_card(document: Mapping[str, Any], width: int) -> Group:
    """The same in the width of a card, for the console: numbers, next tokens as bars, texts, curve, movers."""
    parts: list[RenderableType] = [
        outcome_table(document, width),
        *_warnings(document),
        Text(""),
        token_bars(document["top"], width),
        Text(""),
        _continuations(document),
        Text(""),
    ]
    if document["sweep"] is not None:
        parts += [*dose_view(document, width), Text("")]
    parts += [*movers_card(document["movers"], width), _what_was_edited(document)]
    return Group(*parts)


def _what_was_edited(document: Mapping[str, Any]) -> Table:
    edits: Sequence[str] = document["edits"]
    more = f" … and {len(edits) - _MOST_EDITS} more" if len(edits) > _MOST_EDITS else ""
    return facts(
        {
            "edits": ", ".join(edits[:_MOST_EDITS]) + more,
            "places": document["places"],
            "dictionary": document["dictionary"],
            "graph": document["graph"],
            "written": "the error kept" if document["spelling"] == "delta" else "the replacement model's",
            "held": _HELD[document["freeze"]],
        }
    )


def outcome_table(document: Mapping[str, Any], width: int = 80) -> Table:
    """Logits of the decisive token and its rival (nats), probability and rank before, after, and the change.

    Rank 1 is the most probable token.

    Below 56 cells the first order of the change is left out.
    """
    before, after = document["baseline"], document["outcome"]
    decisive, rival = show_token(document["decisive"]), show_token(document["rival"])
    foretells = width >= _FORETELLING
    table = plain_table("", "before", "after", "change", *(["first order"] if foretells else []), right=1)
    rows = (
        (f"logit {decisive}", "logit", document["delta_logit"], None),
        (f"logit {rival}", "rival_logit", document["delta_rival"], None),
        ("difference", "logit_difference", document["delta_logit_difference"], document["predicted_delta"]),
    )
    for name, key, change, predicted in rows:
        foretold = [] if not foretells else [""] if predicted is None else [signed(predicted)]
        table.add_row(*map(Text, (name, signed(before[key]), signed(after[key]), signed(change), *foretold)))
    p = (before["probability"], after["probability"])
    change = signed(p[1] - p[0]) if None not in p else "–"
    table.add_row(*map(Text, (f"p {decisive}", number(p[0]), number(p[1]), change)))
    moved = after["rank"] - before["rank"]
    table.add_row(
        *map(Text, (f"rank {decisive}", *(str(each["rank"] + 1) for each in (before, after)))),
        Text(f"{moved:+d}" if moved else "0"),
    )
    table.add_row(*map(Text, ("KL(before‖after)", "", "", number(document["kl"]))))
    return table


def _warnings(document: Mapping[str, Any]) -> list[Text]:
    """What a person must know before reading the numbers."""
    warnings = []
    if document["saturated"]:
        p = percent(document["baseline"]["probability"], 2)
        token = show_token(document["decisive"])
        warnings.append(
            f"saturated: p {token} is {p} unedited, so probabilities hardly show an effect; read the logits"
        )
    if document["sweep"] is not None and not document["sweep"]["monotone"]:
        warnings.append("not monotone: the logit difference turns back between doses, so one dose tells little")
    return [Text(warning, style="bold") for warning in warnings]


def top_table(document: Mapping[str, Any], width: int) -> Table:
    """The most probable next tokens before and after, side by side."""
    table = plain_table("most probable before", "p", "after", "p")
    for column in (1, 3):
        table.columns[column].justify = "right"
    cells = max((width - 24) // 2, 12)
    for (one, p_one), (other, p_other) in zip(document["top"]["before"], document["top"]["after"], strict=True):
        shown = (fit(show_token(one), cells), number(p_one), fit(show_token(other), cells), number(p_other))
        table.add_row(*map(Text, shown))
    return table


def token_bars(top: Mapping[str, Sequence[Any]], width: int) -> Table:
    """The most probable next tokens of either run, one line each: p before and after, as numbers and as bars.

    A token that is among the most probable of one run only has no number for the other.
    """
    before, after = (dict(top[side]) for side in ("before", "after"))
    tokens = sorted(before | after, key=lambda token: -max(before.get(token) or 0.0, after.get(token) or 0.0))
    table = plain_table("next token", "p before", "", "p after", "")
    cells = max(min((width - 34) // 2, 16), 3)
    for column in (1, 3):
        table.columns[column].justify = "right"
    for token in tokens[:_MOST_TOKENS]:
        shown = [fit(show_token(token), max(width - 2 * cells - 30, 8))]
        for side in (before, after):
            shown += [number(side.get(token)), bar(side.get(token) or 0.0, cells)]
        table.add_row(*map(Text, shown))
    return table


def movers_table(movers: Mapping[str, Mapping[str, Any]], width: int) -> Table:
    """The tokens whose logit (nats) and probability rose and fell most."""
    table = plain_table("logit rose", "by", "logit fell", "by", "p rose", "by", "p fell", "by")
    for column in (1, 3, 5, 7):
        table.columns[column].justify = "right"
    lists = [movers[quantity][way] for quantity in ("logit", "probability") for way in ("up", "down")]
    cells = max((width - 48) // 4, 6)
    for row in range(max(map(len, lists), default=0)):
        shown = [_mover(each[row], cells) if row < len(each) else ("", "") for each in lists]
        table.add_row(*(Text(part) for pair in shown for part in pair))
    return table


def movers_card(movers: Mapping[str, Mapping[str, Any]], width: int) -> list[RenderableType]:
    """The same in the width of a card: logits over probabilities."""
    if width >= _WIDE_MOVERS:
        return [movers_table(movers, width), Text("")]
    parts: list[RenderableType] = []
    for quantity, name in (("logit", "logit"), ("probability", "p")):
        table = plain_table(f"{name} rose", "by", f"{name} fell", "by")
        for column in (1, 3):
            table.columns[column].justify = "right"
            table.columns[column].no_wrap = True
        cells = max((width - 26) // 2, 6)
        for up, down in zip_longest(movers[quantity]["up"], movers[quantity]["down"]):
            pair = [("", "") if mover is None else _mover(mover, cells) for mover in (up, down)]
            table.add_row(*(Text(part) for shown in pair for part in shown))
        parts += [table, Text("")]
    return parts


def _mover(mover: Mapping[str, Any], cells: int) -> tuple[str, str]:
    change = mover["after"] - mover["before"]
    return fit(show_token(mover["token"]), cells), signed(change, 2) if abs(change) >= 0.005 else signed(change)


def _continuations(document: Mapping[str, Any]) -> Table:
    texts = {"before": document["baseline"]["continuation"], "after": document["outcome"]["continuation"]}
    return facts({name: show_text(text) for name, text in texts.items() if text})


def dose_view(document: Mapping[str, Any], width: int) -> list[RenderableType]:
    """The logit difference over the doses, drawn and listed."""
    points: Sequence[Mapping[str, Any]] = document["sweep"]["points"]
    level = document["baseline"]["logit_difference"]
    predicted = [None if point["predicted_delta"] is None else level + point["predicted_delta"] for point in points]
    measured = [point["logit_difference"] for point in points]
    pair = f"{show_token(document['decisive'])} − {show_token(document['rival'])}"
    table = plain_table("dose", "difference", "change", "first order", "p", "rank", "KL", right=0)
    for column in table.columns:
        column.justify = "right"
    for point in points:
        numbers = (
            number(point["dose"], 2),
            signed(point["logit_difference"]),
            signed(point["delta_logit_difference"]),
            signed(point["predicted_delta"]),
            number(point["probability"]),
            str(point["rank"] + 1),
            number(point["kl"]),
        )
        table.add_row(*map(Text, numbers))
    return [
        Text(f"logit difference {pair} (nats) over the dose: 0 is no edit, 1 the edits as written", style="bold"),
        curve_plot(Curve([point["dose"] for point in points], measured, predicted, level), width),
        legend(),
        Text(""),
        table,
    ]
