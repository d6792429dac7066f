"""What a person, or a program on a person's behalf, says of features: labels with history and scores, and stars."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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
FLOOR = "token-overlap"
"""The judge that reads no label: what it reaches, the tokens alone tell."""
CHANCE = 0.5
"""The balanced accuracy of answers that know nothing."""
_ONE_SIDED_95 = 1.645


@dataclass(frozen=True)
class LabelScore:
    """How well `judge` told, from a label alone, where its feature is active.

    `detection` asks whether it is active anywhere in a context, `fuzzing` whether the marked tokens are the right ones.
    `n_active` and `n_inactive` are the held-out contexts judged; `unanswered` ones are in neither.
    """

    method: str
    judge: str
    balanced_accuracy: float
    n_active: int
    n_inactive: int
    unanswered: int = 0

    @property
    def n(self) -> int:
        """Contexts judged."""
        return self.n_active + self.n_inactive

    @property
    def luck(self) -> float:
        """What a coin stays below 19 times in 20 on so many contexts (normal approximation)."""
        variance = (1 / max(1, self.n_active) + 1 / max(1, self.n_inactive)) / 16
        return min(1.0, CHANCE + _ONE_SIDED_95 * math.sqrt(variance))

    def document(self) -> dict[str, object]:
        """What is printed of it."""
        return {
            "method": self.method,
            "judge": self.judge,
            "balanced_accuracy": self.balanced_accuracy,
            "n": self.n,
            "n_active": self.n_active,
            "n_inactive": self.n_inactive,
            "unanswered": self.unanswered,
            "chance": CHANCE,
            "luck": self.luck,
        }


@dataclass(frozen=True)
class LabelChange:
    """A label that a feature was given; an empty one took it away. `created_at` is ISO 8601, UTC."""

    id: int
    label: str
    source: str
    created_at: str
    scores: tuple[LabelScore, ...] = ()

    def document(self) -> dict[str, object]:
        """What is printed of it."""
        scores = [score.document() for score in self.scores]
        return {"label": self.label, "source": self.source, "created_at": self.created_at, "scores": scores}


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
    sql = """SELECT id, label, source, created_at FROM label_change WHERE dictionary_id = ? AND feature = ?
        ORDER BY id DESC"""
    rows = db.execute(sql, [dictionary_id, feature]).fetchall()
    return [LabelChange(row_id, label, source, at, _scores(db, row_id)) for row_id, label, source, at in rows]


def set_scores(db: Database, feature_id: int, scores: Sequence[LabelScore]) -> None:
    """Keep how good the present label of a feature is, in place of what the same judges said of it before.

    Inside the caller's transaction. `BadInput` if the feature has no label.
    """
    sql = """SELECT label_change.id, feature.label, label_change.label, feature.dictionary_id, feature.feature
        FROM feature LEFT JOIN label_change ON label_change.dictionary_id = feature.dictionary_id
            AND label_change.feature = feature.feature
        WHERE feature.id = ? ORDER BY label_change.id DESC LIMIT 1"""
    row = db.execute(sql, [feature_id]).fetchone()
    if row is None or not row[1]:
        raise BadInput("a feature without a label has no score", "give it a label first")
    change = row[0]
    if row[2] != row[1]:  # a label that was there before labels had a history
        insert = "INSERT INTO label_change (dictionary_id, feature, label, source, created_at) VALUES (?, ?, ?, ?, ?)"
        change = db.execute(insert, [row[3], row[4], row[1], PERSON, now()]).lastrowid
    db.conn.executemany(
        "INSERT OR REPLACE INTO label_score (label_change_id, method, judge, balanced_accuracy, n_active, n_inactive,"
        " unanswered) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(change, s.method, s.judge, s.balanced_accuracy, s.n_active, s.n_inactive, s.unanswered) for s in scores],
    )


def _scores(db: Database, label_change_id: int) -> tuple[LabelScore, ...]:
    sql = f"""SELECT method, judge, balanced_accuracy, n_active, n_inactive, unanswered FROM label_score
        WHERE label_change_id = ? ORDER BY method, judge = '{FLOOR}', judge"""
    return tuple(LabelScore(*row) for row in db.execute(sql, [label_change_id]).fetchall())


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
