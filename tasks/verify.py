"""Verify: a pack opened in a fresh directory, its hashes checked, and its headline numbers computed again.

What a job of the pack printed is compared with what the same params print now, number by number. No project is needed
and none is changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from store.errors import BadInput, Damaged
from tasks.context import Context, ProgressSink
from tasks.execute import execute
from tasks.pack import MODEL_NAME, ROWS_NAME
from tasks.registry import task

if TYPE_CHECKING:
    from store.jobs import Job
    from store.project import Project

RECOMPUTED = ("baseline", "evaluate", "trace", "validate")
"""Jobs whose numbers are computed again; the rest of a pack is checked by its hashes."""
NOT_COMPARED = frozenset({"job", "graph", "seconds", "cpu_seconds", "elapsed_s", "closing_error", "created_at"})
"""Keys of a document that name rows, tell time, or are rounding themselves."""


@dataclass(frozen=True)
class Tolerance:
    """How far a number may move: |now - then| ≤ absolute + relative · |then|."""

    absolute: float = 1e-3
    relative: float = 1e-2

    def holds(self, then: float, now: float) -> bool:
        """Whether `now` is as good as `then`."""
        return abs(now - then) <= self.absolute + self.relative * abs(then)


@dataclass(frozen=True)
class Comparison:
    """One job computed again."""

    job: int
    kind: str
    numbers: int
    """How many were compared."""
    moved: list[dict[str, Any]]
    """Those outside the tolerance: where, then, now."""
    largest_difference: float


def verify_numbers(
    pack: Path, model_spec: str | None, tolerance: Tolerance, progress: ProgressSink, cancelled: Event
) -> dict[str, Any]:
    """Unpack into a fresh temporary directory and compute the headline numbers again.

    `model_spec` replaces the spec in the pack where the weights lie elsewhere on this machine; the revision must be
    the pack's. Raises `Damaged` for anything in the pack that is not what its manifest says.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-verify-") as scratch:
        project, hashes = open_pack(pack, Path(scratch) / "project", model_spec)
        with project:
            comparisons = [*_compare_jobs(Context(project, progress, cancelled), tolerance)]
    moved = sum(len(each.moved) for each in comparisons)
    return {
        "pack": str(pack),
        "files": len(hashes),
        "tolerance": {"absolute": tolerance.absolute, "relative": tolerance.relative},
        "jobs": [vars(each) for each in comparisons],
        "numbers": sum(each.numbers for each in comparisons),
        "moved": moved,
        "verified": moved == 0,
    }


def open_pack(pack: Path, directory: Path, model_spec: str | None = None) -> tuple[Project, dict[str, str]]:
    """A project made from a pack, open for writing, and the pack's hashes by archive path."""
    import json

    from store.packs import unpack
    from store.project import ModelRecord
    from store.project_rows import import_project, read_tables

    if directory.exists() and any(directory.iterdir()):
        raise BadInput(f"{directory} is not empty", "choose a new directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".workbench-unpack-", dir=directory.parent) as scratch:
        files = Path(scratch) / "files"
        hashes = unpack(pack, files)
        try:
            tables = read_tables((files / ROWS_NAME).read_bytes())
            model = ModelRecord(**json.loads((files / MODEL_NAME).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise Damaged(f"{pack} does not hold a project ({error})", "get the pack again from who made it") from error
        if model_spec is not None:
            model = ModelRecord(**{**vars(model), "spec": model_spec})
        return import_project(files, directory, model, tables, version("workbench")), hashes


def _compare_jobs(context: Context, tolerance: Tolerance) -> Iterator[Comparison]:
    from store import jobs

    packed = [job for job in jobs.listing(context.project.db, limit=10_000) if job.kind in RECOMPUTED]
    latest = {(job.kind, str(job.params)): job for job in sorted(packed, key=lambda job: job.id)}
    with context.stage("compute again", len(latest), "jobs") as stage:
        for job in latest.values():
            yield _compare(job, context, tolerance)
            stage.advance()


def _compare(job: Job, context: Context, tolerance: Tolerance) -> Comparison:
    params = task(job.kind).params_type(**job.params)
    now = dict(numbers(execute(job.kind, params, context)))
    then = dict(numbers(job.result or {}))
    both = then.keys() & now.keys()
    moved = [
        {"number": name, "then": then.get(name), "now": now.get(name)}
        for name in sorted(then.keys() | now.keys())
        if name not in both or not tolerance.holds(then[name], now[name])
    ]
    largest = max((abs(now[name] - then[name]) for name in both), default=0.0)
    return Comparison(job.id, job.kind, len(both), moved, largest)


def numbers(document: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a document with its path, but for those of `NOT_COMPARED`."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key not in NOT_COMPARED:
                yield from numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from numbers(value, f"{path}[{index}]")
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield path, float(document)
