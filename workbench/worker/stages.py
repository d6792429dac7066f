"""Progress between processes: the open stages as they stand, ten times a second at most.

A snapshot says everything, so one that is lost or skipped costs nothing, and whoever attaches late needs only the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

from tasks.context import ProgressSink

SECONDS_BETWEEN_SNAPSHOTS = 0.1
Snapshot = Sequence[dict[str, Any]]
"""The open stages, outermost first: `serial`, `label`, `total`, `unit`, `done`."""


@dataclass
class SnapshotProgress:
    """A sink that hands a snapshot to `send` when something has moved, and every note at once."""

    send: Callable[[Snapshot], None]
    say: Callable[[str], None]
    _open: list[dict[str, Any]] = field(default_factory=list)
    _serial: int = 0
    _lock: Lock = field(default_factory=Lock)
    _moved: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        """Start the thread that sends, so that work never waits for a socket."""
        Thread(target=self._send_moved, name="progress", daemon=True).start()

    def begin(self, label: str, total: float, unit: str) -> None:
        """Open a stage."""
        with self._lock:
            self._serial += 1
            self._open.append({"serial": self._serial, "label": label, "total": total, "unit": unit, "done": 0.0})
        self._moved.set()

    def advance(self, amount: float) -> None:
        """Move the innermost stage."""
        with self._lock:
            self._open[-1]["done"] += amount
        self._moved.set()

    def end(self) -> None:
        """Close the innermost stage."""
        with self._lock:
            self._open.pop()
        self._moved.set()

    def note(self, text: str) -> None:
        """Pass a line of narration on."""
        self.say(text)

    def _send_moved(self) -> None:
        while self._moved.wait():
            self._moved.clear()
            with self._lock:
                snapshot = [dict(stage) for stage in self._open]
            self.send(snapshot)
            time.sleep(SECONDS_BETWEEN_SNAPSHOTS)


@dataclass
class SnapshotReplay:
    """Brings a sink to each snapshot: stages that are gone end, new ones begin, the others advance."""

    sink: ProgressSink
    _open: list[dict[str, Any]] = field(default_factory=list)

    def show(self, snapshot: Snapshot) -> None:
        """Move the sink on to this snapshot."""
        kept = 0
        for before, after in zip(self._open, snapshot, strict=False):
            if before["serial"] != after["serial"]:
                break
            kept += 1
        for _ in self._open[kept:]:
            self.sink.end()
        for place, stage in enumerate(snapshot):  # a stage moves only while it is the innermost, so this order is true
            done = self._open[place]["done"] if place < kept else 0.0
            if place >= kept:
                self.sink.begin(stage["label"], stage["total"], stage["unit"])
            if stage["done"] > done:
                self.sink.advance(stage["done"] - done)
        self._open = [dict(stage) for stage in snapshot]

    def clear(self) -> None:
        """End every stage that is still open."""
        self.show([])
