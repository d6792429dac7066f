"""What a reproduction came to: one line a behaviour, then every hypothesis with the numbers that decide it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import percent
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import show_text

MARKS = {"supported": "✓", "partly": "~", "not supported": "✗", "model can't": "–", "not tested": "·"}
"""A glyph for each verdict, beside its word."""


def reproduction_view(document: Mapping[str, Any]) -> Group:
    """The verdicts, what they rest on, and how to get the report."""
    parts: list[Table | Text | Padding] = [verdict_table(document), Text("")]
    for behaviour in document["behaviours"]:
        if behaviour["hypotheses"]:
            parts += [Text(f"{show_text(behaviour['title'])}: {behaviour['verdict']}", style="bold")]
            parts += [Padding(line, (0, 0, 0, 2)) for line in _hypotheses(behaviour)]
    parts += [
        Text(""),
        Text(tally(document)),
        Text("the whole report: workbench reproduction REPORT.html", style="dim"),
    ]
    return Group(*parts)


def verdict_table(document: Mapping[str, Any]) -> Table:
    """One line a behaviour: its verdict, how many of its pairs the model does, and why."""
    table = plain_table("", "behaviour", "verdict", "does", "because")
    for behaviour in document["behaviours"]:
        cells = (
            MARKS[behaviour["verdict"]],
            show_text(behaviour["name"]),
            behaviour["verdict"],
            percent(behaviour["accuracy"], 0),
            show_text(behaviour["because"]),
        )
        table.add_row(*map(Text, cells))
    return table


def tally(document: Mapping[str, Any]) -> str:
    """How many behaviours came to what, and on which model and dictionary."""
    counts = ", ".join(f"{count} {name}" for name, count in document["verdicts"].items() if count)
    model, dictionary = show_text(document["model"]), show_text(document["dictionary"])
    return f"{len(document['behaviours'])} behaviours of {model}, by {dictionary}: {counts}"


def _hypotheses(behaviour: Mapping[str, Any]) -> Iterator[Text]:
    for each in behaviour["hypotheses"]:
        yield Text(f"{MARKS[each['outcome']]} {show_text(each['claim'])}")
        yield Text(f"  {each['outcome']}: {show_text(each['because'])}", style="dim")
