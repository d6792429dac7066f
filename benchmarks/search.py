"""How long a search of the feature index takes, and a page of the list: `python -m benchmarks.search [N_FEATURES…]`.

On made-up projects of 10 000, 100 000 and 1 000 000 features (benchmarks.feature_store), in milliseconds of
processor time (and by the clock, in the JSON), p50 and p99 over queries drawn from the vocabulary,
frequent words as likely as in the text.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import feature_store
from store.feature_query import parse_query
from store.feature_search import SORTS, find_features
from store.features import rows_of
from store.project import Project

SIZES = (10_000, 100_000, 1_000_000)
_QUERIES, _PAGES, _PAGE = 200, 200, 128


def measure(n_features: int, folder: Path) -> dict[str, dict[str, float]]:
    """What is measured -> {p50, p99, clock_p50, clock_p99} in milliseconds, for a project of so many features."""
    directory = folder / f"made-{n_features}"
    if not (directory / "project.db").exists():
        feature_store.create(directory, n_features)
    with Project.open(directory, write=False) as project:
        return _measured(project)


def _measured(project: Project) -> dict[str, dict[str, float]]:
    words = feature_store.vocabulary()
    draw = np.random.default_rng(1)

    def word() -> str:
        return words[min(int(draw.zipf(1.2)), len(words)) - 1]

    def search(make: Callable[[], str], sort: str = "", limit: int | None = None) -> dict[str, float]:
        queries = [parse_query(make()) for _ in range(_QUERIES if limit or make() else 5)]
        return _timed([partial(find_features, project.db, query, sort=sort, limit=limit) for query in queries])

    everything = find_features(project.db, parse_query("")).ids
    starts = [int(draw.integers(0, len(everything))) for _ in range(_PAGES)]
    found = {
        "one word": search(word),
        "two words": search(lambda: f"{word()} {word()}"),
        "the beginning of a word": search(lambda: words[int(draw.integers(0, len(words)))][:4]),
        "a word, a layer, density < 1 %": search(lambda: f"{word()} layer:{draw.integers(0, 36)} density:<1%"),
        "fires-on a token, first page": search(lambda: f'fires-on:" {word()}"', limit=_PAGE),
        "reading a page of the list": _timed(
            [partial(rows_of, project.db, everything[at : at + _PAGE].tolist()) for at in starts]
        ),
    }
    for sort in SORTS:
        found[f"first page by {sort}"] = search(lambda: "", sort, _PAGE)
        found[f"the whole list by {sort}"] = search(lambda: "", sort)
    return found


def _timed(actions: list[Callable[[], object]]) -> dict[str, float]:
    """Percentiles of the processor's time, which other processes do not lengthen, and of the clock's."""
    cpu, clock = [], []
    for action in actions:
        started, cpu_started = time.perf_counter(), time.thread_time()
        action()
        cpu.append((time.thread_time() - cpu_started) * 1000)
        clock.append((time.perf_counter() - started) * 1000)
    return {
        "p50": float(np.percentile(cpu, 50)),
        "p99": float(np.percentile(cpu, 99)),
        "clock_p50": float(np.percentile(clock, 50)),
        "clock_p99": float(np.percentile(clock, 99)),
    }


def main() -> None:
    """Measure the sizes that are named, or all; print a table, and the numbers as JSON."""
    sizes = [int(argument) for argument in sys.argv[1:]] or list(SIZES)
    with tempfile.TemporaryDirectory(prefix="workbench-search-") as folder:
        found = {size: measure(size, Path(folder)) for size in sizes}
    names = list(next(iter(found.values())))
    print(f"{'CPU-milliseconds, p50 / p99':38}" + "".join(f"{size:>20,}" for size in sizes))
    for name in names:
        cells = (f"{found[size][name]['p50']:9.2f} / {found[size][name]['p99']:8.2f}" for size in sizes)
        print(f"{name:38}" + "".join(f"{cell:>20}" for cell in cells))
    print(json.dumps({str(size): values for size, values in found.items()}))


if __name__ == "__main__":
    main()
