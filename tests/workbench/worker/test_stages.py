"""Progress across processes: a sink that replays snapshots ends where the sink of the foreground ends."""

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workbench.worker.stages import Snapshot, SnapshotProgress, SnapshotReplay

MOVES = st.lists(st.sampled_from(["begin", "advance", "end"]), max_size=40)


class Bars:
    """A sink that holds what it would draw: (label, total, unit, done) for each open stage."""

    def __init__(self) -> None:
        self.open: list[list[Any]] = []

    def begin(self, label: str, total: float, unit: str) -> None:
        self.open.append([label, total, unit, 0.0])

    def advance(self, amount: float) -> None:
        self.open[-1][3] += amount

    def end(self) -> None:
        self.open.pop()

    def note(self, text: str) -> None: ...


@given(MOVES, st.sets(st.integers(0, 39)))
def test_given_any_snapshots_kept_when_replayed_then_the_bars_are_those_of_the_foreground(
    moves: list[str], kept: set[int]
) -> None:
    here, there = Bars(), Bars()
    replay, stages, serial = SnapshotReplay(there), list[dict[str, Any]](), 0
    for number, move in enumerate(moves):
        if move == "begin":
            serial += 1
            here.begin(f"stage {serial % 2}", 5, "steps")
            stages.append({"serial": serial, "label": f"stage {serial % 2}", "total": 5, "unit": "steps", "done": 0.0})
        elif stages and move == "advance":
            here.advance(1)
            stages[-1]["done"] += 1
        elif stages:
            here.end()
            stages.pop()
        if number in kept:
            replay.show([dict(stage) for stage in stages])
            assert there.open == here.open
    replay.clear()
    assert there.open == []


def test_given_a_burst_of_steps_when_sent_then_few_snapshots_pass_and_the_last_is_true() -> None:
    sent: list[Snapshot] = []
    arrived = threading.Event()

    def send(snapshot: Snapshot) -> None:
        sent.append(snapshot)
        if snapshot and snapshot[-1]["done"] == 1000:
            arrived.set()

    progress = SnapshotProgress(send, lambda text: None)
    progress.begin("steps", 1000, "steps")
    for _ in range(1000):
        progress.advance(1)
    assert arrived.wait(30)
    assert len(sent) < 100
