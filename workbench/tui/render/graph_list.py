"""Graphs: one line each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from store.graphs import GraphRecord
from workbench.tui.render.bars import number
from workbench.tui.render.facts import plain_table
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
