"""Graphs: one line each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from store.graphs import GraphRecord
from workbench.tui.render.bars import number
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import show_text


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
