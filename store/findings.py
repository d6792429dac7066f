"""The findings ledger: numbers that a person kept, each with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput, Missing
from store.jobs import now

if TYPE_CHECKING:
    from sqlite_utils import Database

LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Finding:
    """One row of table `finding`. `provenance`: whatever is known (job, graph, node, feature, value)."""

    id: int
    created_at: str
    text: str
    provenance: dict[str, Any]


def add(db: Database, text: str, provenance: Mapping[str, Any]) -> int:
    """Keep a finding; its id. `BadInput` for one without words or with too many."""
    if not text.strip():
        raise BadInput("a finding needs words", "say what was found")
    if len(text) > LONGEST_TEXT:
        raise BadInput(f"a finding of {len(text)} characters", f"at most {LONGEST_TEXT}")
    row = [now(), text, json.dumps(dict(provenance), sort_keys=True)]
    cursor = db.execute("INSERT INTO finding (created_at, text, provenance) VALUES (?, ?, ?)", row)
    return int(cursor.lastrowid or 0)


def listing(db: Database) -> list[Finding]:
    """All findings, the newest first."""
    rows = db.execute("SELECT id, created_at, text, provenance FROM finding ORDER BY id DESC").fetchall()
    return [Finding(id, at, text, json.loads(provenance)) for id, at, text, provenance in rows]


def reword(db: Database, finding_id: int, text: str) -> None:
    """Change a finding's words; `Missing` if there is none of that id."""
    if not db.execute("UPDATE finding SET text = ? WHERE id = ?", [text, finding_id]).rowcount:
        raise Missing(f"no finding {finding_id}", "`workbench findings list` shows them")


def remove(db: Database, finding_id: int) -> None:
    """Strike a finding; `Missing` if there is none of that id."""
    if not db.execute("DELETE FROM finding WHERE id = ?", [finding_id]).rowcount:
        raise Missing(f"no finding {finding_id}", "`workbench findings list` shows them")
