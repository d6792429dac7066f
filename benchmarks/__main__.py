"""Every benchmark that stands beside this file, one after the other: `make bench`. None of them is a test."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import pruning, startup

BENCHMARKS: dict[str, Callable[[], dict[str, float]]] = {
    "startup": startup.measure,
    "pruning": pruning.measure,
}
"""Name of a benchmark and what measures it: a name and a number with its unit for each figure."""


def main() -> None:
    """Run them all and print one line a figure."""
    for name, measure in BENCHMARKS.items():
        for figure, value in measure().items():
            print(f"{name:12} {figure:40} {value:10.3f}")


if __name__ == "__main__":
    main()
