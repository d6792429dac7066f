"""What a stretch of work costs this process: processor seconds, wall seconds, and memory at its peak.

Standard library alone, so that the peer's environment can use it too. Linux only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


@dataclass
class Cost:
    """Filled in when the stretch ends."""

    cpu_s: float = 0.0
    """Processor time of all threads."""
    wall_s: float = 0.0
    peak_bytes: int = 0
    """The largest resident set during the stretch, less what was resident before it."""


@contextmanager
def measured() -> Iterator[Cost]:
    """The cost of the block."""
    cost = Cost()
    reset_peak()
    before = resident_bytes()
    wall, cpu = time.monotonic(), time.process_time()
    yield cost
    cost.cpu_s, cost.wall_s = time.process_time() - cpu, time.monotonic() - wall
    cost.peak_bytes = max(0, peak_bytes() - before)


def reset_peak() -> None:
    """Let `peak_bytes` count from now on."""
    _CLEAR_REFS.write_text(_RESET_PEAK)


def resident_bytes() -> int:
    """The resident set of this process."""
    return _status_bytes("VmRSS")


def peak_bytes() -> int:
    """The largest resident set of this process since `reset_peak`."""
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
