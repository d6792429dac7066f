"""The closing report: every number with its unit, and the command that gives it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from workbench.tui.render.tokens import show_text

_INDENT = 3


@dataclass(frozen=True)
class Figure:
    """One number of the report, already in the digits that mean something."""

    name: str
    value: str
    unit: str = ""


@dataclass(frozen=True)
class Section:
    """One step: what it was, the command that does it again, its numbers, and what they mean in plain words."""

    title: str
    command: str
    figures: Sequence[Figure] = ()
    remarks: Sequence[str] = ()
    views: Sequence[RenderableType] = field(default=())


def report_view(heading: str, sections: Sequence[Section], closing: Sequence[str], width: int) -> Group:
    """The sections under numbered titles, then what the whole came to; `width` is where commands are continued."""
    parts: list[RenderableType] = [Text(show_text(heading), style="bold")]
    for number, section in enumerate(sections, start=1):
        parts += [Text(f"\n{number}  {show_text(section.title)}", style="bold"), *_body(section, width - _INDENT)]
    if closing:
        parts.append(Text(""))
        parts += [Text(show_text(line)) for line in closing]
    return Group(*parts)


def continued(command: str, width: int) -> list[str]:
    """A shell command on lines of at most `width` cells where its words allow, continued by backslashes."""
    lines = ["$"]
    for word in map(shlex.quote, shlex.split(command)):
        if lines[-1] != "$" and cell_len(lines[-1]) + cell_len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines


def _body(section: Section, width: int) -> list[RenderableType]:
    body: list[RenderableType] = [Text(line, style="dim") for line in continued(show_text(section.command), width)]
    if section.figures:
        body.append(_figures(section.figures))
    body += [Text(show_text(remark)) for remark in section.remarks]
    body += section.views
    return [Padding(part, (0, 0, 0, _INDENT), expand=False) for part in body]


def _figures(figures: Sequence[Figure]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for figure in figures:
        table.add_row(*map(Text, map(show_text, (figure.name, figure.value, figure.unit))))
    return table
