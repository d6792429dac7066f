"""Why attention goes where it goes: the heads that carry an edge, and the sources behind a head's score."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from workbench.tui.render.bars import number, percent, signed
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text, show_token


def heads_view(document: Mapping[str, Any]) -> Group:
    """One edge by heads: what each takes up from the source, and what each writes into the target, in its units."""
    tokens: Sequence[str] = document["tokens"]
    table = plain_table("head", "takes up", "mostly to", "writes", "mostly from")
    for column in (1, 3):
        table.columns[column].justify = "right"
    for head in document["heads"]:
        table.add_row(
            Text(show_text(head["head"])),
            signed(head["taken_up"], 4),
            _place(tokens, head["to"]) if head["taken_up"] else "",
            signed(head["written"], 4),
            _place(tokens, head["from"]) if head["written"] else "",
        )
    rest = document["rest"]
    if rest["heads"] > 0:
        table.add_row(f"{rest['heads']} others", signed(rest["taken_up"], 4), "", signed(rest["written"], 4), "")
    table.add_row("no head", signed(document["direct"], 4), "", signed(document["direct"], 4), "")
    table.add_row("the edge", signed(document["edge"], 4), "", signed(document["edge"], 4), "")
    ends = f"{_named(document['source'], tokens)} → {_named(document['target'], tokens)}"
    return Group(facts({"graph": document["graph"], "edge": ends}), Text(""), table)


def query_key_view(document: Mapping[str, Any]) -> Group:
    """One query-key score by the sources of the query, of the key, and by pairs."""
    tokens: Sequence[str] = document["tokens"]
    attends = f"{_place(tokens, document['query'])} → {_place(tokens, document['key'])}"
    heading = facts(
        {
            "graph": document["graph"],
            "head": document["head"],
            "attends": f"{attends}, {percent(document['attention'])} of its attention",
            "score": f"{number(document['score'], 4)} before the softmax",
        }
    )
    sides: list[RenderableType] = []
    for title, key in (("query's sources", "by_query_source"), ("key's sources", "by_key_source")):
        table = plain_table(title, "score", right=1)
        for part in document[key]:
            table.add_row(Text(_named(part["source"], tokens)), signed(part["score"], 4))
        sides.extend([Text(""), table])
    pairs = plain_table("in the query", "in the key", "score", right=2)
    for pair in document["pairs"]:
        names = (Text(_named(pair[side], tokens)) for side in ("query", "key"))
        pairs.add_row(*names, signed(pair["score"], 4))
    return Group(heading, *sides, Text(""), pairs)


def _place(tokens: Sequence[str], position: int) -> str:
    return f"{show_token(tokens[position])} @{position}"


def _named(name: str, tokens: Sequence[str]) -> str:
    """A node's name with the token at its position."""
    match = re.search(r"@(-?[0-9]+)$", name)
    if match is None or not -len(tokens) <= int(match[1]) < len(tokens):
        return show_text(name)
    return f"{show_text(name)} {show_token(tokens[int(match[1])])}"
