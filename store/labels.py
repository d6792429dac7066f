"""What a person, or a program on a person's behalf, says of features: labels with their history, and stars."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.errors import BadInput, Missing
from store.jobs import now
from store.search import encodable, index_feature

if TYPE_CHECKING:
    from sqlite_utils import Database

LONGEST_LABEL = 200
"""Characters."""
PERSON = "person"
"""The source of a label that a person wrote."""


@dataclass(frozen=True)
class LabelChange:
    """A label that a feature was given; an empty one took it away. `created_at` is ISO 8601, UTC."""

    label: str
    source: str
    created_at: str


def check_label(label: str) -> str:
    """The label as it is kept: one line, no blanks at its ends. `BadInput` if it is too long."""
    kept = " ".join(encodable(label).split())
    if len(kept) > LONGEST_LABEL:
        raise BadInput(f"a label of {len(kept)} characters", f"give at most {LONGEST_LABEL}")
    return kept


def set_label(db: Database, feature_id: int, label: str, source: str = PERSON) -> str:
    """Give a feature a label (empty: none), in its row, its history and the search index; what it is now.

    Inside the caller's transaction. `BadInput` for a label that is too long, `Missing` if there is no such feature.
    """
    kept = check_label(label)
    sql = """SELECT dictionary_id, feature, label, promoted, fires_on, words
        FROM feature LEFT JOIN context ON feature_id = feature.id WHERE feature.id = ?"""
    row = db.execute(sql, [feature_id]).fetchone()
    if row is None:
        raise Missing(f"no feature with row {feature_id}", "`workbench features search` shows the features there are")
    dictionary_id, feature, before, promoted, fires_on, words = row
    if kept == before:
        return kept
    db.execute("UPDATE feature SET label = ? WHERE id = ?", [kept, feature_id])
    db.execute(
        "INSERT INTO label_change (dictionary_id, feature, label, source, created_at) VALUES (?, ?, ?, ?, ?)",
        [dictionary_id, feature, kept, source, now()],
    )
    if words is None:  # indexed before the words of examples were kept
        words = "\n".join(json.loads(fires_on))
    index_feature(db, feature_id, kept, words, " ".join(token for token, _ in json.loads(promoted)))
    return kept


def history(db: Database, dictionary_id: int, feature: int) -> list[LabelChange]:
    """Every label that the feature was given, the newest first."""
    sql = """SELECT label, source, created_at FROM label_change WHERE dictionary_id = ? AND feature = ?
        ORDER BY id DESC"""
    return [LabelChange(*row) for row in db.execute(sql, [dictionary_id, feature]).fetchall()]


def set_star(db: Database, dictionary_id: int, feature: int, starred: bool) -> None:
    """Star a feature, or take the star away, inside the caller's transaction."""
    if starred:
        sql = "INSERT OR IGNORE INTO star (dictionary_id, feature, created_at) VALUES (?, ?, ?)"
        db.execute(sql, [dictionary_id, feature, now()])
    else:
        db.execute("DELETE FROM star WHERE dictionary_id = ? AND feature = ?", [dictionary_id, feature])


def is_starred(db: Database, dictionary_id: int, feature: int) -> bool:
    """Whether the feature has a star."""
    sql = "SELECT 1 FROM star WHERE dictionary_id = ? AND feature = ?"
    return db.execute(sql, [dictionary_id, feature]).fetchone() is not None
