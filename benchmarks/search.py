"""How long a search of the feature index takes, and a page of the list: `python -m benchmarks.search [N_FEATURES…]`.

On made-up projects of 10 000, 100 000 and 1 000 000 features (benchmarks.feature_store), in milliseconds of
processor time (and by the clock, in the JSON), p50 and p99 over queries drawn from the vocabulary,
frequent words as likely as in the text. $WORKBENCH_SEARCH_PROJECTS is a folder in which the projects are kept.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
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
_PATIENCE_S = 60.0


def measure(n_features: int, folder: Path) -> dict[str, dict[str, float]]:
    """What is measured -> {p50, p99, clock_p50, clock_p99} in milliseconds, for a project of so many features."""
    directory = folder / f"made-{n_features}"
    if not (directory / "project.db").exists():
        feature_store.create(directory, n_features)
    with Project.open(directory, write=False) as project:
        return _measured(project)


def _measured(project: Project) -> dict[str, dict[str, float]]:
    draw = np.random.default_rng(1)

    def search(make: Callable[[], str], sort: str = "", limit: int | None = None) -> dict[str, float]:
        queries = [parse_query(make()) for _ in range(_QUERIES if limit or make() else 5)]
        find = partial(find_features, project.db, sort=sort, limit=limit, time_limit_s=_PATIENCE_S)
        return _timed([partial(find, query) for query in queries])

    everything = find_features(project.db, parse_query("")).ids
    starts = [int(draw.integers(0, len(everything))) for _ in range(_PAGES)]
    found = {
        name: search(make, limit=_PAGE if name.endswith("page") else None) for name, make in _queries(draw).items()
    }
    found["reading a page of the list"] = _timed(
        [partial(rows_of, project.db, everything[at : at + _PAGE].tolist()) for at in starts]
    )
    for sort in SORTS:
        found[f"first page by {sort}"] = search(lambda: "", sort, _PAGE)
        found[f"the whole list by {sort}"] = search(lambda: "", sort)
    return found


def _queries(draw: np.random.Generator) -> dict[str, Callable[[], str]]:
    """The shape of a query -> one such query, anew each time."""
    words = feature_store.vocabulary()

    def word() -> str:
        return words[min(int(draw.zipf(1.2)), len(words)) - 1]

    def beginning(length: int) -> str:
        return words[int(draw.integers(0, len(words)))][:length]

    return {
        "one word": word,
        "two words": lambda: f"{word()} {word()}",
        "three words": lambda: f"{word()} {word()} {word()}",
        "punctuation: word-word": lambda: f"{word()}-{word()}",
        "three letters of a word": lambda: beginning(3),
        "four letters of a word": lambda: beginning(4),
        "a word and three letters": lambda: f"{word()} {beginning(3)}",
        "a word, a layer, density < 1 %": lambda: f"{word()} layer:{draw.integers(0, 36)} density:<1%",
        "a word, density < 1 %": lambda: f"{word()} density:<1%",
        "two words, density < 1 %": lambda: f"{word()} {word()} density:<1%",
        "a word, labelled": lambda: f"{word()} label:*",
        "a word, without a label": lambda: f"{word()} label:?",
        "a word in the label": lambda: f"label:{word()}",
        "a word, fires-on a token": lambda: f'{word()} fires-on:" {word()}"',
        "fires-on a token, first page": lambda: f'fires-on:" {word()}"',
    }


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
    kept = os.environ.get("WORKBENCH_SEARCH_PROJECTS")
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="workbench-search-") as folder:
        found = {size: measure(size, Path(folder)) for size in sizes}
    names = list(next(iter(found.values())))
    print(f"{'CPU-milliseconds, p50 / p99':38}" + "".join(f"{size:>20,}" for size in sizes))
    for name in names:
        cells = (f"{found[size][name]['p50']:9.2f} / {found[size][name]['p99']:8.2f}" for size in sizes)
        print(f"{name:38}" + "".join(f"{cell:>20}" for cell in cells))
    print(json.dumps({str(size): values for size, values in found.items()}))


if __name__ == "__main__":
    main()
