"""What a key does: the one table behind key bindings, the footer, the key help, the command palette and the tests.

Each pane and the app itself declare their actions as a tuple of `Action`; the method that does it is `action_NAME` of
whoever declares it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Action:
    """One thing that a person can do."""

    name: str
    """`action_NAME` does it."""
    keys: str
    """Textual's names, separated by commas; the first is the one that is shown."""
    words: str
    """What it does, for help and palette: a sentence without a full stop."""
    footer: str = ""
    """One or two words for the footer; nothing keeps it out of the footer."""
    changes: bool = False
    """Whether it writes to the project or gives the worker work: not for a follower."""


EVERYWHERE = (
    Action("pane('baselines')", "1,f2", "Show the baselines"),
    Action("pane('features')", "2,f3", "Show the features"),
    Action("pane('graph')", "3,f4", "Show the graph"),
    Action("pane('interventions')", "4,f5", "Show the interventions"),
    Action("back", "alt+left,ctrl+o", "Go back to where you were"),
    Action("forward", "alt+right", "Go forward again"),
    Action("link", "ctrl+l", "Link the panes, or let each stay where it is"),
    Action("jobs", "J,f6", "Open or close the jobs", "jobs"),
    Action("ledger", "L,f7", "Read the findings that were kept"),
    Action("keep", "exclamation_mark", "Keep the number under the cursor as a finding", changes=True),
    Action("copy", "y", "Copy what is under the cursor"),
    Action("export", "X,f8", "Save this view as text, SVG or Markdown"),
    Action("keys", "question_mark", "List every key", "keys"),
    Action("about", "f1", "Explain the pane under the cursor"),
    Action("quit", "ctrl+q", "Leave; the worker and its jobs go on", "quit"),
)
"""What can be done in every pane: the app's own."""


def bindings(actions: Iterable[Action]) -> list[BindingType]:
    """Textual's form of the table."""
    return [
        Binding(action.keys, action.name, action.footer or action.words, show=bool(action.footer), tooltip=action.words)
        for action in actions
    ]


def permitted(actions: Iterable[Action], name: str, read_only: bool) -> bool | None:
    """What Textual's `check_action` answers: a follower's changing actions are there, greyed out."""
    changing = {action.name.partition("(")[0] for action in actions if action.changes}
    return None if read_only and name in changing else True


_DISPLAY = {
    "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{", "right_curly_bracket": "}",
    "question_mark": "?", "exclamation_mark": "!", "slash": "/", "enter": "⏎", "escape": "esc", "space": "space",
    "full_stop": ".", "comma": ",", "plus": "+", "minus": "-", "equals_sign": "=", "at": "@", "asterisk": "*",
}  # fmt: skip


def key_words(keys: str) -> str:
    """The first key of a binding as it stands on the keyboard: `slash,ctrl+f` -> `/`."""
    key = keys.split(",", maxsplit=1)[0]
    return "+".join(_DISPLAY.get(part, part) for part in key.split("+"))
