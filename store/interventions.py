"""Reading what interventions measured: their list, and one with its whole document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import Missing

if TYPE_CHECKING:
    from sqlite_utils import Database

LISTED = 500
"""Interventions in a list, the newest first."""
_ROWS = """
    SELECT intervention.id, job_id AS job, job.finished_at AS at, prompt,
        edits AS asked,
        json_extract(outcome, '$.delta_logit_difference') AS change,
        json_extract(outcome, '$.predicted_delta') AS predicted,
        json_extract(outcome, '$.kl') AS kl
    FROM intervention JOIN job ON job.id = job_id"""


@dataclass(frozen=True)
class InterventionRecord:
    """One row of table `intervention` in short: what was asked, and what it did to the logit difference."""

    id: int
    job: int
    at: str
    """When it was measured, ISO 8601 UTC."""
    prompt: str
    edits: tuple[str, ...]
    """In the edit grammar."""
    dictionary: str
    graph: int | None
    sweep: str | None
    """The doses, if it was measured at several."""
    change: float | None
    """Of the logit difference, after - before, nats."""
    predicted: float | None
    """The same to first order; None where first order says nothing."""
    kl: float | None
    """KL(before‖after), nats."""


def listing(db: Database, limit: int = LISTED) -> list[InterventionRecord]:
    """The latest interventions, newest first."""
    return [_record(row) for row in db.query(f"{_ROWS} ORDER BY intervention.id DESC LIMIT ?", [limit])]


def find(db: Database, intervention_id: int) -> InterventionRecord:
    """One intervention; `Missing` if there is none of that id."""
    for row in db.query(f"{_ROWS} WHERE intervention.id = ?", [intervention_id]):
        return _record(row)
    raise Missing(f"no intervention {intervention_id} in this project", "`workbench interventions list` shows them")


def document(db: Database, record: InterventionRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """The params of an intervention's job, and the document that it ended with."""
    row = db.execute("SELECT params, result FROM job WHERE id = ?", [record.job]).fetchone()
    if row is None or row[1] is None:
        raise Missing(f"what intervention {record.id} came to is not in this project", "run it again")
    return json.loads(row[0]), json.loads(row[1])


def _record(row: dict[str, Any]) -> InterventionRecord:
    asked = json.loads(row.pop("asked"))
    known = {name: asked.get(name) for name in ("dictionary", "graph", "sweep")}
    return InterventionRecord(**(row | known), edits=tuple(asked["edits"]))
