"""The rows of the list: behaviours, and under those that are open their prompts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from tasks.baseline_board import BoardBehaviour, BoardPair
from workbench.tui.render.baseline_board import behaviour_line, pair_line

RowPlace = tuple[str, str]
"""A behaviour's name and a pair's key; an empty key is the behaviour's own line."""


@dataclass(frozen=True)
class Row:
    """One line of the list: a behaviour, or one of its pairs."""

    behaviour: BoardBehaviour
    pair: BoardPair | None = None

    @property
    def place(self) -> RowPlace:
        """What it is known by when the list is read again."""
        return (self.behaviour.name, self.pair.key if self.pair else "")


@dataclass
class BoardLines:
    """What the list shows of the board."""

    rows: Sequence[Row] = ()
    opened: Collection[str] = field(default_factory=frozenset)
    """Names of behaviours whose prompts are shown."""
    running: Collection[RowPlace] = field(default_factory=frozenset)

    def __len__(self) -> int:
        """How many lines."""
        return len(self.rows)

    def line(self, index: int, width: int) -> Text:
        """One behaviour or one pair."""
        row = self.rows[index]
        running = row.place in self.running or (row.behaviour.name, "") in self.running
        if row.pair is None:
            return behaviour_line(row.behaviour, row.behaviour.name in self.opened, running, width)
        return pair_line(row.pair, running, width)

    def index_of(self, place: RowPlace) -> int | None:
        """Where a place is, or its behaviour's line if it is not shown; None if neither is."""
        places = [row.place for row in self.rows]
        for wanted in (place, (place[0], "")):
            if wanted in places:
                return places.index(wanted)
        return None


def board_rows(behaviours: Sequence[BoardBehaviour], opened: Collection[str], words: str) -> list[Row]:
    """The rows to show. With `words`, only what holds all of them: a behaviour in its name or title, or pairs."""
    wanted = words.casefold().split()
    rows = []
    for behaviour in behaviours:
        whole = _holds(wanted, behaviour.name, behaviour.title)
        pairs = [pair for pair in behaviour.pairs if whole or _holds(wanted, *_texts(pair))]
        if pairs or whole:
            rows.append(Row(behaviour))
        if behaviour.name in opened:
            rows += [Row(behaviour, pair) for pair in pairs]
    return rows


def _holds(wanted: Sequence[str], *texts: str) -> bool:
    text = " ".join(texts).casefold()
    return all(word in text for word in wanted)


def _texts(pair: BoardPair) -> tuple[str, ...]:
    written = pair.pair
    return tuple(text or "" for text in (written.clean, written.corrupt, written.decisive, written.rival))
