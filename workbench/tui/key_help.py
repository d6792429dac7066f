"""The key help: every action of a pane and of the app, from the one table."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.tui.actions import Action, key_words
from workbench.tui.jobs_drawer import JobsDrawer
from workbench.tui.pane import Pane

_MOVING = (
    ("↑ ↓ j k", "one up or down"),
    ("pgup pgdn", "a page up or down"),
    ("home end", "the first or the last"),
    ("⏎ or a second click", "choose"),
    ("tab", "the next part of the pane"),
)


def key_page(pane: Pane, everywhere: Iterable[Action]) -> Group:
    """All keys: this pane's, lists', the jobs', the app's."""
    return Group(
        *_part(pane.TITLE, _rows(pane.ACTIONS)),
        *_part("Lists", _MOVING),
        *_part("Jobs", _rows(JobsDrawer.ACTIONS)),
        *_part("Everywhere", [*_rows(everywhere), ("ctrl+p", "Every action by name")]),
    )


def about_page(pane: Pane) -> Group:
    """What a pane shows and what its keys do."""
    return Group(Text(pane.HELP.strip()), *_part("Keys", _rows(pane.ACTIONS)))


def _rows(actions: Iterable[Action]) -> list[tuple[str, str]]:
    return [(key_words(action.keys), action.words) for action in actions]


def _part(title: str, rows: Iterable[tuple[str, str]]) -> tuple[Text, Table]:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for key, words in rows:
        table.add_row(Text(key, style="bold"), Text(words))
    return Text(f"\n{title}", style="bold underline"), table
