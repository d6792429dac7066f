"""Names and values in two columns: what a thing is, at a glance."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from workbench.tui.render.tokens import show_text


def facts(values: Mapping[str, object]) -> Table:
    """One line a fact; underscores in names read as spaces, a fact that is None is left out."""
    table = Table.grid(padding=(0, 2))
    for name, value in values.items():
        if value is not None:
            table.add_row(Text(name.replace("_", " "), style="dim"), Text(show_text(str(value)), overflow="fold"))
    return table


def plain_table(*columns: str, right: int = 0) -> Table:
    """A table without box, its headings underlined by nothing but style; the columns from `right` on are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for index, name in enumerate(columns):
        numeric = right > 0 and index >= right
        table.add_column(Text(name), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    return table
