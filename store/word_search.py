"""Which features have some words, best first, in time that is bounded however many features have them.

A word that very many features have only narrows a search: counting it for BM25 would cost more than finding it. Where
more than `MOST_RANKED` features have all the words, none are ranked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from store.search import LABEL_WEIGHTS, as_beginning, quoted_words

if TYPE_CHECKING:
    from sqlite_utils import Database

_PARTS = re.compile(r"[^\W_]+")
MOST_RANKED = 3000
"""Features that have the words: more are not ranked but listed by layer, the labelled ones first, and cut here."""
FEW = 40_000
"""Ids that are listed rather than looked up one by one."""
_FREQUENT = 20_000
"""Features that have a word from which on it does not count for the rank."""
_MOST_LABELLED = 1000
_ENOUGH = 20
"""Features that have all the words, from which on the last one is no longer looked for as a beginning too."""
_COMPLETE = 1000
"""Features that have the last word, from which on it is taken to be complete, whatever the others leave."""
_MOST_PROBED = 400
"""Ids that are looked for one by one in the index of words (0.08 ms each) rather than by reading a word's list.
A beginning never is: all the words that begin so would be gathered for each."""
_NEAR = 8
"""Dictionaries whose first and last ids are looked up (1 ms each of 28 000 features)."""


@dataclass(frozen=True)
class Among:
    """Which features may be found at all."""

    dictionaries: Sequence[int]
    """Rows of table `dictionary`."""
    all_dictionaries: bool
    """Whether these are all that there are."""
    ids: NDArray[np.int64] | None = None
    """Rows of table `feature`, ascending; None if any may be found."""
    where: str = ""
    """SQL on table `feature` that holds of them, each part begun with AND."""
    values: tuple[Any, ...] = ()
    """The parameters of `where`."""


@dataclass(frozen=True)
class WordMatches:
    """What words found."""

    ids: list[int]
    """Best first; by place, labelled ones first, if `cut`."""
    scores: dict[int, float] = field(default_factory=dict)
    """BM25 by id, larger is better; empty where nothing was ranked."""
    cut: bool = False
    """Whether more features have the words than are listed."""


def by_label(db: Database, words: Sequence[str], among: Among) -> list[int]:
    """The features that have all the words in their labels, at most `FEW`, by id; the last word is also a beginning."""
    quoted = quoted_words(words)
    return _having(db, "label_fts", _all_of(as_beginning(words, quoted) or quoted), among, FEW)


def by_words(db: Database, words: Sequence[str], among: Among) -> WordMatches:
    """The features that have all the words; the last one is also a beginning if few have it as it stands."""
    quoted = quoted_words(words)
    match, ranking = _all_of(quoted), quoted
    found = whole = _having(db, "feature_fts", match, among, MOST_RANKED + 1)
    begun = as_beginning(words, quoted)
    n_allowed = MOST_RANKED if among.ids is None else len(among.ids)
    if len(whole) < min(_ENOUGH, n_allowed) and begun and not _is_complete(db, words[-1]):
        # A beginning is dear: all words that begin so are gathered.
        match = _all_of(begun)
        ranking = begun[:-1] or (begun if words[-1].isalnum() and among.ids is None else quoted)
        found = _having(db, "feature_fts", match, among, MOST_RANKED + 1)
    labelled = _having(db, "label_fts", match, among, _MOST_LABELLED)
    if len(found) > MOST_RANKED:
        first = whole if len(whole) < _ENOUGH else []
        return WordMatches(list(dict.fromkeys([*first, *labelled, *found]))[:MOST_RANKED], cut=True)
    is_rare = [match] == ranking and among.ids is None and not among.where  # else too many would have been found
    scores = _scores(db, ranking if is_rare else _rare(db, ranking), found)
    in_turn = dict.fromkeys([*labelled, *found])
    return WordMatches(sorted(in_turn, key=lambda row_id: -scores.get(row_id, 0.0)), scores)


def _is_complete(db: Database, word: str) -> bool:
    """Whether so many features have the word, of several the last one, that it is hardly the beginning of another."""
    parts = _PARTS.findall(word)
    return bool(parts) and _count(db, f'"{parts[-1]}"', _COMPLETE) == _COMPLETE


def _count(db: Database, match: str, most: int) -> int:
    """How many features have that, as far as `most`."""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM feature_fts WHERE feature_fts MATCH ? LIMIT {most})"
    return int(db.execute(sql, [match]).fetchone()[0])


def _all_of(quoted: Sequence[str]) -> str:
    return " AND ".join(quoted)


def _rare(db: Database, quoted: Sequence[str]) -> list[str]:
    """Those of the words that are not frequent."""
    return [word for word in dict.fromkeys(quoted) if _count(db, word, _FREQUENT + 1) <= _FREQUENT]


def _scores(db: Database, rare: Sequence[str], ids: list[int]) -> dict[int, float]:
    """BM25 of these features, which have the words; empty without words."""
    if not rare or not ids:
        return {}
    scored = f"""SELECT rowid, -bm25(feature_fts, {LABEL_WEIGHTS}) FROM feature_fts WHERE feature_fts MATCH ?
        AND rowid BETWEEN ? AND ? AND +rowid IN (SELECT value FROM json_each(?))"""
    return dict(db.execute(scored, [_all_of(rare), min(ids), max(ids), json.dumps(ids)]).fetchall())


def _having(db: Database, index: str, match: str, among: Among, limit: int) -> list[int]:
    """The ids that an index of words has among these, by id."""
    source, conditions = f"FROM {index}", [f"{index} MATCH ?"]
    values: list[Any] = [match, *_as_json(among.ids)]
    if among.ids is not None and len(among.ids) <= _MOST_PROBED and not match.endswith("*"):
        source = f"FROM json_each(?) AS probed CROSS JOIN {index} ON {index}.rowid = probed.value"
        values = [*_as_json(among.ids), match]
    elif among.ids is not None:  # a plus keeps SQLite from looking for each id anew
        conditions.append(f"+{index}.rowid IN (SELECT value FROM json_each(?))")
    if (bounds := _bounds(db, among)) is not None:
        conditions.append(f"{index}.rowid BETWEEN ? AND ?")
        values += bounds
    where = among.where.replace("feature.id", f"{index}.rowid")
    if not among.all_dictionaries:
        where += f" AND feature.dictionary_id IN ({', '.join(map(str, among.dictionaries)) or 'NULL'})"
    if "feature." in where:  # the row is read only for what it alone says
        source += f" CROSS JOIN feature ON feature.id = {index}.rowid"
    sql = f"SELECT {index}.rowid {source} WHERE {' AND '.join(conditions)}{where} LIMIT {limit}"
    values += among.values
    return [row[0] for row in db.execute(sql, values).fetchall()]


def _bounds(db: Database, among: Among) -> tuple[int, int] | None:
    """The first and the last id that may be found, where that is soon known. The features of a set lie together."""
    if among.ids is not None:
        return (int(among.ids[0]), int(among.ids[-1])) if len(among.ids) else (0, 0)
    if among.all_dictionaries or len(among.dictionaries) > _NEAR:
        return None
    sql = "SELECT min(id), max(id) FROM feature WHERE dictionary_id = ?"
    found = [db.execute(sql, [each]).fetchone() for each in among.dictionaries]
    known = [bounds for bounds in found if bounds[0] is not None]
    return (min(first for first, _ in known), max(last for _, last in known)) if known else (0, 0)


def _as_json(ids: NDArray[np.int64] | None) -> list[str]:
    return [] if ids is None else [json.dumps(ids.tolist())]
