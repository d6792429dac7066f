"""Where a person is looking, and the way back: what links the panes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

LONGEST_HISTORY = 200


@dataclass(frozen=True)
class Place:
    """A pane and what it shows; an empty field says nothing about it."""

    pane: str = ""
    prompt: str = ""
    """The text of the prompt."""
    graph: int = 0
    """A graph's id; ids start at 1."""
    node: str = ""
    """A node of the graph by name: `L12/345@7`."""
    dictionary: str = ""
    """The dictionary set that `feature` belongs to."""
    feature: str = ""
    """`L12/345`."""
    intervention: int = 0
    """A stored intervention's id."""

    def over(self, earlier: Place) -> Place:
        """This place, with what it leaves open filled in from an earlier one."""
        known = {name: value for name, value in asdict(self).items() if value}
        return replace(earlier, **known)

    def document(self) -> dict[str, Any]:
        """What is said, as JSON."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def read(cls, document: object) -> Place:
        """The place of a stored document; what does not fit is left out."""
        if not isinstance(document, Mapping):
            return cls()
        known: dict[str, Any] = asdict(cls())
        return cls(**known | {k: v for k, v in document.items() if k in known and type(v) is type(known[k])})


@dataclass
class History:
    """Places in the order of the visit, with a way back and forward as in a browser."""

    places: list[Place] = field(default_factory=lambda: [Place()])
    at: int = 0

    @property
    def here(self) -> Place:
        """Where the person is."""
        return self.places[self.at]

    def go(self, place: Place) -> None:
        """Go on to a place: what lay ahead is forgotten."""
        if place == self.here:
            return
        self.places = [*self.places[: self.at + 1], place][-LONGEST_HISTORY:]
        self.at = len(self.places) - 1

    def note(self, place: Place) -> None:
        """What is looked at changes without a step being taken."""
        self.places[self.at] = place

    def step(self, by: int) -> Place | None:
        """Back (-1) or forward (+1); None at the end."""
        if not 0 <= self.at + by < len(self.places):
            return None
        self.at += by
        return self.here
