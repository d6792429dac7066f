"""Any task's document as text: single values in two columns, each list of records as a table.

Views that mean more than their numbers (a graph, a validation) have modules of their own; this one leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from workbench.tui.render.bars import duration, number, percent
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text

_LONGEST_LIST = 12


def document_view(document: Mapping[str, Any]) -> Group:
    """Everything in `document`: first its single values, then its records, then what lies deeper."""
    single = {heading(key): value_text(key, value) for key, value in document.items() if not _is_deep(value)}
    parts: list[RenderableType] = [facts(single)] if single else []
    for key, value in document.items():
        if _is_deep(value):
            parts += [Text(f"\n{heading(key)}", style="bold"), _deep(value)]
    return Group(*parts)


def records_table(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> RenderableType:
    """One line a record; `columns` maps keys to headings (all keys without it); numbers stand to the right."""
    if columns is None:
        columns = {key: heading(key) for record in records for key in record}
    table = plain_table()
    for name, words in columns.items():
        first = next((record[name] for record in records if record.get(name) is not None), None)
        numeric = isinstance(first, int | float) and not isinstance(first, bool)
        table.add_column(Text(words), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for record in records:
        table.add_row(*(Text(value_text(name, record.get(name))) for name in columns))
    return table


def heading(key: str) -> str:
    """A key as a person reads it: without underscores, and without the unit that its value is printed with."""
    return show_text(key.removesuffix("_bytes").removesuffix("_s").removesuffix("_seconds").replace("_", " "))


def value_text(name: str, value: Any) -> str:
    """One value as inert text, in the unit that its name says: seconds as a duration, shares as per cent."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number_text(name, value)
    if isinstance(value, list | tuple):
        shown = [value_text("", item) for item in value[:_LONGEST_LIST]]
        return " ".join(shown) + (f" … {len(value)}" if len(value) > _LONGEST_LIST else "")
    if isinstance(value, dict):
        return ", ".join(f"{show_text(str(key))} {value_text(str(key), item)}" for key, item in value.items())
    return show_text(str(value))


def _number_text(name: str, value: float) -> str:
    if name == "seconds" or name.endswith(("_s", "_seconds")):
        return duration(value)
    if name.endswith("_bytes"):
        return f"{value / 1e6:,.1f} MB".replace(",", " ")
    if name.endswith("_share") and isinstance(value, float):
        return percent(value)
    if isinstance(value, int):
        return str(value)
    return number(value)


def _is_deep(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _deep(value: Any) -> RenderableType:
    if isinstance(value, list):
        return records_table(value)
    return (
        document_view(value)
        if any(map(_is_deep, value.values()))
        else facts({heading(key): value_text(key, item) for key, item in value.items()})
    )
