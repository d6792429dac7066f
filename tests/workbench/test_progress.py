"""Progress: an occasional line where nobody looks at bars, bars with the innermost stage where somebody does."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pytest
from rich.console import Console
from rich.progress import Progress

from workbench.cli.progress import BarProgress, PlainProgress, terminal_progress


@dataclass
class Clock:
    """A clock that moves when told."""

    now: float = 100.0
    lines: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


def test_given_a_short_stage_when_reported_plainly_then_nothing_is_said() -> None:
    clock = Clock()
    plain = PlainProgress(clock.lines.append, clock)
    plain.begin("train", 10, "tokens")
    for _ in range(10):
        clock.now += 0.9
        plain.advance(1)
    plain.end()
    assert clock.lines == []


def test_given_a_long_stage_when_reported_plainly_then_a_line_every_ten_seconds_with_the_time_left() -> None:
    clock = Clock()
    plain = PlainProgress(clock.lines.append, clock)
    plain.begin("train", 40, "tokens")
    for _ in range(40):
        clock.now += 1.0
        plain.advance(1)
    plain.end()
    assert clock.lines == [
        "train: 10 of 40 tokens, 30 s left",
        "train: 20 of 40 tokens, 20 s left",
        "train: 30 of 40 tokens, 10 s left",
        "train: 40 of 40 tokens, 0.0 s left",
    ]


def test_given_nested_stages_when_reported_plainly_then_the_innermost_speaks_and_the_outer_goes_on_after_it() -> None:
    clock = Clock()
    plain = PlainProgress(clock.lines.append, clock)
    plain.begin("demo", 2, "steps")
    plain.begin("train", 2, "layers")
    clock.now += 11
    plain.advance(1)
    plain.end()
    clock.now += 11
    plain.advance(1)
    assert clock.lines == ["train: 1 of 2 layers, 11 s left", "demo: 1 of 2 steps, 22 s left"]


def test_given_a_terminal_when_stages_nest_then_each_has_a_bar_and_a_hostile_label_is_inert() -> None:
    stream = io.StringIO()
    with Progress(console=Console(file=stream, force_terminal=True, color_system=None, width=80)) as progress:
        bars = BarProgress(progress)
        bars.begin("outer", 2, "steps")
        bars.begin("\x1b[2J[bold]", 2, "steps")
        bars.advance(1)
        assert [(task.description, task.completed) for task in progress.tasks] == [("outer", 0), ("␛[2J[bold]", 1)]
        bars.end()
        bars.advance(1)
        assert [(task.description, task.completed) for task in progress.tasks] == [("outer", 1)]
        bars.end()


def test_given_no_terminal_when_progress_is_opened_then_it_is_the_plain_one() -> None:
    with terminal_progress() as sink:
        assert isinstance(sink, PlainProgress)


def test_given_a_bar_when_its_first_step_is_done_then_the_time_left_is_known() -> None:
    clock = Clock()
    bars = Progress(console=Console(file=io.StringIO()), get_time=clock, auto_refresh=False)
    progress = BarProgress(bars)
    progress.begin("the whole path", 400, "s of work")
    clock.now += 20.0
    progress.advance(40)
    assert bars.tasks[0].time_remaining == pytest.approx(180, abs=1)
