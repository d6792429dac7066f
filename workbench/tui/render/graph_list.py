"""Graphs: one line each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from store.graphs import GraphRecord
from workbench.tui.render.bars import number
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import fit, show_text

_PROMPT_CELLS = 40


def graph_table(records: Sequence[GraphRecord]) -> Table:
    """One line a graph: id, dictionary, size, scores (shares of 1), and its prompt."""
    table = plain_table("graph", "nodes", "edges", "replacement", "completeness", right=0)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_column(Text("dictionary"))
    table.add_column(Text("prompt"), no_wrap=True)
    for record in records:
        scores = (number(record.replacement_score), number(record.completeness_score))
        cells = (str(record.id), str(record.n_nodes), str(record.n_edges), *scores, show_text(record.dictionary))
        table.add_row(*map(Text, cells), Text(fit(show_text(record.prompt), _PROMPT_CELLS)))
    return table
