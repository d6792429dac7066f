"""Baselines: does the model do the behaviour at all? One line a behaviour, then one line a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import number, percent, signed
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import show_text, show_token


def baseline_view(document: Mapping[str, Any]) -> Group:
    """Accuracy of each behaviour, then of every pair p, rank (1: most probable), logit difference (nats)."""
    parts: list[Table | Text] = [behaviour_table(document)]
    for behaviour in document["behaviours"]:
        parts += [Text(f"\n{show_text(behaviour['title'])}", style="bold"), _pair_table(behaviour)]
        parts += [_refused_line(each) for each in behaviour.get("refused", [])]
    return Group(*parts)


def _refused_line(refused: Mapping[str, Any]) -> Text:
    """A pair that was left out, and why."""
    return Text(f"pair {refused['pair']} left out: {show_text(refused['reason'])}", style="dim")


def behaviour_table(document: Mapping[str, Any]) -> Table:
    """One line a behaviour: pairs passed, means over its pairs, and a plain word where the model lacks it."""
    table = plain_table("behaviour", "passed", "pairs", "mean p", "clean", "corrupt", right=1)
    table.add_column(Text(""))
    for behaviour in document["behaviours"]:
        pairs = behaviour["pairs"]
        numbers = (
            percent(behaviour["accuracy"], 0),
            str(len(pairs)),
            number(_mean([pair["clean"]["p_decisive"] for pair in pairs])),
            signed(_mean([pair["clean"]["logit_difference"] for pair in pairs]), 2),
            signed(_mean([pair["corrupt"]["logit_difference"] for pair in pairs if pair["corrupt"]]), 2),
        )
        word = "the model lacks it" if behaviour["lacking"] else ""
        table.add_row(*map(Text, (show_text(behaviour["name"]), *numbers, word)))
    return table


def _pair_table(behaviour: Mapping[str, Any]) -> Table:
    table = plain_table("", "decisive", "p", "rank", "clean", "corrupt")
    for column in table.columns[2:]:
        column.justify = "right"
    table.add_column(Text("prompt"), no_wrap=True, overflow="ellipsis", ratio=1)
    table.expand = True
    for pair in behaviour["pairs"]:
        clean, corrupt = pair["clean"], pair["corrupt"]
        numbers = (
            number(clean["p_decisive"]),
            "–" if clean["rank_decisive"] is None else str(clean["rank_decisive"] + 1),
            signed(clean["logit_difference"], 2),
            signed(corrupt["logit_difference"], 2) if corrupt else "–",
        )
        mark = "·" if pair["passed"] is None else "✓" if pair["passed"] else "✗"
        token = show_token(pair["decisive"]) if pair["decisive"] else "–"
        table.add_row(*map(Text, (mark, token, *numbers, show_text(clean["prompt"]))))
    return table


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
