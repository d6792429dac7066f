"""What panes tell the app. Messages go up; what follows from them comes down as method calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from textual.message import Message

from workbench.tui.place import Place


@dataclass
class Looked(Message):
    """The cursor of a pane has come to rest on something: linked panes show it too."""

    place: Place

    def can_replace(self, message: Message) -> bool:
        """A later look makes an earlier one of the same pane, still waiting, needless."""
        return isinstance(message, Looked) and message.place.pane == self.place.pane


@dataclass
class Went(Message):
    """A person wants to go somewhere: that pane comes up and shows it, and the way back is kept."""

    place: Place


@dataclass
class Asked(Message):
    """Work for the worker: a task's kind and the params that differ from its defaults."""

    kind: str
    params: Mapping[str, Any]
    said: str = ""
    """What is being done, for the person: `tracing "The capital of …"`."""


@dataclass
class Kept(Message):
    """A number or view worth keeping in the findings ledger, with where it comes from."""

    text: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Whatever is known: job, graph, node, feature, intervention, value."""


@dataclass
class Told(Message):
    """A line for the person, from anywhere; `error` makes it stand out and last longer."""

    text: str
    error: bool = False


@dataclass
class EditsSent(Message):
    """Edits (in the edit grammar, as `ablate L12/345@7`) for the intervention console, with the prompt they go with."""

    edits: tuple[str, ...]
    prompt: str = ""
    graph: int = 0
    dictionary: str = ""


@dataclass
class WorkerNews(Message):
    """What the worker's thread hears: `state` is up, down (`reason` says why), or job (`job` is its announcement)."""

    state: str
    reason: str = ""
    job: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class StoreChanged(Message):
    """Another process has written to the project's database."""

    def can_replace(self, message: Message) -> bool:
        """One look serves several changes."""
        return isinstance(message, StoreChanged)
