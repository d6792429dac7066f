"""Curves that a job draws while it runs: points in the order in which they came, by curve."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from store import jobs
from store.jobs import JobEvent

if TYPE_CHECKING:
    from sqlite_utils import Database

POINT = "point"
"""`JobEvent.kind` of a point; its text is JSON, `[curve, {measure: value}]`."""

Curve = dict[str, list[float | None]]
"""Measure -> its values, None where a point has none; all of one length."""


def add_point(db: Database, job_id: int, curve: str, values: Mapping[str, float | None]) -> None:
    """Write one point."""
    jobs.add_event(db, job_id, POINT, json.dumps([curve, dict(values)]))


def curves(events: Iterable[JobEvent]) -> dict[str, Curve]:
    """What a job's events draw, by curve; the one that moved last is the last."""
    found: dict[str, list[dict[str, float | None]]] = {}
    for event in events:
        if event.kind == POINT:
            curve, values = json.loads(event.text)
            found[curve] = [*found.pop(curve, []), values]
    return {
        curve: {name: [point.get(name) for point in points] for name in dict.fromkeys(n for p in points for n in p)}
        for curve, points in found.items()
    }
