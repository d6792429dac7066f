"""Graphs: one line each; and the pins and views of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from store.graphs import GraphRecord
from tasks.graphs.view import NodeView
from workbench.tui.render.bars import number, percent
from workbench.tui.render.facts import plain_table
from workbench.tui.render.graph_tree import describe
from workbench.tui.render.tokens import fit, show_text


def graph_table(records: Sequence[GraphRecord]) -> Table:
    """One line a graph: id, size, replacement and completeness score (1 is all), dictionary, prompt."""
    table = plain_table("graph", "nodes", "edges", "repl.", "compl.", right=1)
    table.add_column(Text("dictionary"), no_wrap=True, max_width=16)
    table.add_column(Text("prompt"), no_wrap=True, overflow="ellipsis", ratio=1)
    table.expand = True
    table.columns[0].no_wrap = True
    for record in records:
        scores = (number(record.replacement_score), number(record.completeness_score))
        cells = (str(record.id), str(record.n_nodes), str(record.n_edges), *scores, show_text(record.dictionary))
        table.add_row(*map(Text, cells), Text(show_text(record.prompt)))
    return table


def graph_line(record: GraphRecord, width: int) -> Text:
    """The same in one line of at most `width` cells, with a number's name beside it."""
    line = Text(f"{record.id:>4}  ", style="bold")
    line.append(f"{record.n_nodes:>5} nodes {record.n_edges:>6} edges", style="")
    scores = f"  repl. {number(record.replacement_score, 2)} compl. {number(record.completeness_score, 2)}  "
    line.append(scores)
    line.append(f"{fit(show_text(record.dictionary), 14):<14}  ")
    line.append(show_text(record.prompt))
    line.truncate(width, overflow="ellipsis")
    return line


def pin_table(nodes: Sequence[NodeView], tokens: Sequence[str], pruned_away: int) -> Group:
    """One line a pinned node with what is known of it; of those that the thresholds took, how many."""
    table = plain_table("pinned", "", "share", "predicted", "measured", right=2)
    for node in nodes:
        name, known = describe(node, tokens)
        numbers = (percent(node.share), number(node.predicted_effect), number(node.measured_effect))
        table.add_row(*map(Text, (name, known, *numbers)))
    words = f"{len(nodes)} pinned" + (f", {pruned_away} more that this graph did not keep" if pruned_away else "")
    return Group(table, Text(words)) if nodes else Group(Text(words))


def view_table(views: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line a view that was kept: its name, thresholds, how many nodes it pins, and what it draws."""
    table = plain_table("view", "nodes", "edges", "pins", "drawn", right=1)
    for name, view in views.items():
        thresholds = [number(view.get(f"{part}_threshold"), 2) for part in ("node", "edge")]
        drawn = [word for word in ("grouped", "only_pinned") if view.get(word)]
        cells = (show_text(name), *thresholds, str(len(view.get("pins") or [])), ", ".join(drawn).replace("_", " "))
        table.add_row(*map(Text, cells))
    return table
