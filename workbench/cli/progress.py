"""Progress on stderr: bars with the time left on a terminal, an occasional line anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.context import ProgressSink
from workbench.cli.output import narrate
from workbench.tui.render.bars import duration
from workbench.tui.render.tokens import show_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_LINES = 10.0
_SPEED_OVER_S = 1800.0


@contextmanager
def terminal_progress() -> Iterator[ProgressSink]:
    """The sink for this process's stderr."""
    if not sys.stderr.isatty():
        yield PlainProgress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    words = TextColumn("{task.description}", markup=False)
    unit = TextColumn("{task.fields[unit]}", markup=False)
    columns = (words, BarColumn(None), MofNCompleteColumn(), unit, TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Progress(*columns, console=console, transient=True, speed_estimate_period=_SPEED_OVER_S) as bars:
        yield BarProgress(bars)


@dataclass
class BarProgress:
    """One bar a stage, an inner stage below its outer one."""

    bars: Progress
    _open: list[TaskID] = field(default_factory=list)

    def begin(self, label: str, total: float, unit: str) -> None:
        """Add a bar; its speed is counted from now, so that the first step already tells the time left."""
        bar = self.bars.add_task(show_text(label), total=total, unit=unit)
        self.bars.advance(bar, 0)
        self._open.append(bar)

    def advance(self, amount: float) -> None:
        """Move the innermost bar."""
        self.bars.advance(self._open[-1], amount)

    def end(self) -> None:
        """Take the innermost bar away."""
        self.bars.remove_task(self._open.pop())

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self.bars.console.print(show_text(text))


@dataclass
class _Stage:
    label: str
    total: float
    unit: str
    started: float
    done: float = 0.0


@dataclass
class PlainProgress:
    """A line when a stage is under way for ten seconds, and every ten seconds from then on."""

    say: Callable[[str], None] = narrate
    clock: Callable[[], float] = time.monotonic
    _open: list[_Stage] = field(default_factory=list)
    _said_at: float = 0.0

    def begin(self, label: str, total: float, unit: str) -> None:
        """Note the time."""
        now = self.clock()
        if not self._open:
            self._said_at = now
        self._open.append(_Stage(label, total, unit, now))

    def advance(self, amount: float) -> None:
        """Say how far the stage is and how long it will take, if it is time to."""
        stage = self._open[-1]
        stage.done += amount
        now = self.clock()
        if now - self._said_at < _SECONDS_BETWEEN_LINES:
            return
        self._said_at = now
        left = (now - stage.started) * (stage.total - stage.done) / stage.done if stage.done else 0.0
        self.say(f"{stage.label}: {stage.done:.0f} of {stage.total:.0f} {stage.unit}, {duration(max(left, 0.0))} left")

    def end(self) -> None:
        """Forget the stage."""
        self._open.pop()

    def note(self, text: str) -> None:
        """Say it."""
        self.say(text)
