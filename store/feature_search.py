"""Finding features among a million: the ids that a query asks for, in order, and the rows of one page of them.

Ids come as one string out of SQLite (`group_concat`), which a thread that draws is not held up by. Words are ranked by
BM25 only where not too many features have them: ranking a word that a third of a million features have takes seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pysqlite3
from numpy.typing import NDArray

from store.errors import BadInput
from store.feature_query import Bound, FeatureQuery
from store.search import encodable
from store.word_search import FEW, Among, by_label, by_words

if TYPE_CHECKING:
    from sqlite_utils import Database

Ids = NDArray[np.int64]
SORTS = ("place", "density", "rarity", "maximum", "label")
"""By layer and number; most frequent first; rarest first, silent ones last; strongest first; labels from A to Z."""
_INSTRUCTIONS_BETWEEN_LOOKS = 1000
_MOST_LISTED, _MOST_LISTED_OF_A_PAGE = 20_000, 5000
"""Features that fire on a token, beyond which a list in order looks each one up; if only its first page is wanted."""
_LABELLED = "SELECT id FROM feature WHERE label != ''"
_STARRED = """SELECT starred.id FROM star CROSS JOIN feature AS starred
    ON starred.dictionary_id = star.dictionary_id AND starred.feature = star.feature"""


@dataclass(frozen=True)
class FoundFeatures:
    """What a query found."""

    ids: Ids
    """Rows of table `feature`, in the order that was asked for."""
    scores: Mapping[int, float] = field(default_factory=dict)
    """BM25 by id, larger is better; empty where no words were asked for, or too many features have them."""
    cut: bool = False
    """Whether more features have the words than are listed."""


@dataclass(frozen=True)
class _Condition:
    sql: str
    values: tuple[Any, ...] = ()
    listing: str = ""
    """A query of the ids that meet it, with the same values, which an index answers."""
    is_few: bool = False
    """Whether so few meet it that they are sorted, where else an order would be walked."""


def find_features(
    db: Database,
    query: FeatureQuery,
    *,
    sort: str = "",
    among: Collection[int] | None = None,
    limit: int | None = None,
    time_limit_s: float = 2.0,
) -> FoundFeatures:
    """The features that `query` asks for; its graphs are the caller's, who gives the ids that they leave as `among`.

    `sort` is one of `SORTS`; left out, words are ranked and everything else is by place. Raises `BadInput` for words
    that cannot be searched for, or a search that takes longer than `time_limit_s`.
    """
    with time_limit(db, time_limit_s):
        dictionaries = _dictionaries(db, query)
        conditions = _conditions(db, query, among, _MOST_LISTED if limit is None else _MOST_LISTED_OF_A_PAGE)
        if not query.words and not query.label_words:
            few = among is not None or any(condition.is_few for condition in conditions)
            ids = _in_order(db, dictionaries, conditions, sort or "place", limit, few)
            return FoundFeatures(ids)
        found = _by_words(db, query, dictionaries, conditions)
        if sort:
            among_found = [*conditions, _member(found.ids.tolist())]
            ids = _in_order(db, dictionaries, among_found, sort, None, few=True)
            found = FoundFeatures(ids, found.scores, found.cut)
    return found if limit is None else FoundFeatures(found.ids[:limit], found.scores, found.cut)


def place_ids(db: Database, dictionary: str, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """(layer, feature) -> id of its row, for those of a dictionary set that are indexed."""
    sql = """SELECT dictionary.layer, feature.feature, feature.id FROM json_each(?) AS place
        JOIN dictionary ON dictionary.name = ? AND dictionary.layer = place.value ->> 0
        JOIN feature ON feature.dictionary_id = dictionary.id AND feature.feature = place.value ->> 1"""
    rows = db.execute(sql, [json.dumps(sorted(places)), dictionary]).fetchall()
    return {(layer, feature): row_id for layer, feature, row_id in rows}


@contextmanager
def time_limit(db: Database, seconds: float) -> Iterator[None]:
    """Interrupt any query inside that runs for longer, and say so as `BadInput`."""
    deadline = time.monotonic() + seconds
    db.conn.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS_BETWEEN_LOOKS)
    try:
        yield
    except pysqlite3.OperationalError as error:
        if time.monotonic() <= deadline:
            raise
        raise BadInput(f"the search took longer than {seconds:g} s", "give longer words, or name a layer") from error
    finally:
        db.conn.set_progress_handler(None, 0)


def _dictionaries(db: Database, query: FeatureQuery) -> list[int]:
    """The rows of table `dictionary` that the query allows, by set and layer."""
    rows = db.execute("SELECT id, name, layer, kind FROM dictionary ORDER BY name, layer").fetchall()
    return [
        row_id
        for row_id, name, layer, kind in rows
        if query.dictionary in (None, name)
        and query.kind in (None, kind)
        and (query.layers is None or layer in query.layers)
    ]


def _conditions(db: Database, query: FeatureQuery, among: Collection[int] | None, most_listed: int) -> list[_Condition]:
    """Everything but words and dictionaries."""
    found = [_compared("density", bound) for bound in query.density]
    found += [_compared("maximum", bound) for bound in query.maximum]
    if query.labelled is not None:
        negation, listing = ("", _LABELLED) if query.labelled else ("NOT", "")
        found.append(_Condition(f"feature.id {negation} IN ({_LABELLED})", listing=listing))
    if query.starred:
        found.append(_Condition(f"feature.id IN ({_STARRED})", listing=_STARRED))
    found += [_fires_on(db, [encodable(token) for token in tokens], most_listed) for tokens in query.fires_on]
    if among is not None:
        found.append(_member(among))
    return found


def _compared(column: str, bound: Bound) -> _Condition:
    condition = f"feature.{column} {bound.operator} ?"
    return _Condition(condition, (bound.value,), f"SELECT id FROM feature WHERE {condition}")


def _member(ids: Collection[int]) -> _Condition:
    values = (json.dumps([int(each) for each in ids]),)
    listing = "SELECT value FROM json_each(?)"
    return _Condition(f"feature.id IN ({listing})", values, listing)


def _fires_on(db: Database, tokens: Sequence[str], most_listed: int) -> _Condition:
    """Of a rare token the ids are listed first; of a frequent one each feature is looked up."""
    marks = ", ".join("?" * len(tokens))
    listing = f"SELECT feature_id FROM fires_on WHERE token IN ({marks})"
    sql = f"SELECT count(*) FROM ({listing} LIMIT {most_listed + 1})"
    if db.execute(sql, list(tokens)).fetchone()[0] <= most_listed:
        return _Condition(f"feature.id IN ({listing})", tuple(tokens), listing, is_few=True)
    one_by_one = f"EXISTS (SELECT 1 FROM fires_on WHERE token IN ({marks}) AND feature_id = +feature.id)"
    return _Condition(one_by_one, tuple(tokens), listing)


def _in_order(
    db: Database, dictionaries: list[int], conditions: list[_Condition], sort: str, limit: int | None, few: bool
) -> Ids:
    """Stretch after stretch of the order, until `limit` ids are found."""
    found: list[Ids] = []
    left = limit
    for stretch, order in _stretches(dictionaries, sort):
        ids = _ids(db, [*conditions, stretch], order, left, few)
        found.append(ids)
        if left is not None and (left := left - len(ids)) <= 0:
            break
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _stretches(dictionaries: list[int], sort: str) -> list[tuple[_Condition, str]]:
    """What the order is made of: (condition, order within), each of which an index gives."""
    one_by_one = [(_Condition("feature.dictionary_id = ?", (each,)), "feature.feature") for each in dictionaries]
    chosen = f"feature.dictionary_id IN ({', '.join(map(str, dictionaries)) or 'NULL'})"
    if sort == "place":
        return one_by_one
    if sort == "density":
        return [(_Condition(chosen), "feature.density DESC")]
    if sort == "maximum":
        return [(_Condition(chosen), "feature.maximum DESC")]
    if sort == "rarity":
        silent = [(_Condition(f"{sql.sql} AND feature.density = 0", sql.values), order) for sql, order in one_by_one]
        return [(_Condition(f"{chosen} AND feature.density > 0"), "feature.density"), *silent]
    if sort == "label":
        without = " AND feature.id NOT IN (SELECT id FROM feature WHERE label != '')"
        unlabelled = [(_Condition(sql.sql + without, sql.values), order) for sql, order in one_by_one]
        return [(_Condition(f"{chosen} AND feature.label != ''"), "feature.label"), *unlabelled]
    raise BadInput(f"features are not sorted by {sort!r}", f"sort them by {', '.join(SORTS)}")


def _ids(db: Database, conditions: list[_Condition], order: str, limit: int | None, few: bool) -> Ids:
    """Ids under all the conditions. With `few`, they are found by id and then sorted, not by walking the order."""
    where = " AND ".join(condition.sql for condition in conditions)
    values = [value for condition in conditions for value in condition.values]
    tail = "" if limit is None else f" LIMIT {int(limit)}"
    if few:  # a plus keeps SQLite from walking an index of that column
        where, order = where.replace("feature.dictionary_id", "+feature.dictionary_id"), f"+{order}, id"
    ordered = f"SELECT id FROM feature WHERE {where} ORDER BY {order}{tail}"
    joined = db.execute(f"SELECT group_concat(id) FROM ({ordered})", values).fetchone()[0]
    return np.fromstring(joined, dtype=np.int64, sep=",") if joined else np.zeros(0, dtype=np.int64)


def _by_words(
    db: Database, query: FeatureQuery, dictionaries: list[int], conditions: list[_Condition]
) -> FoundFeatures:
    """The features that have the words, best first; where they are too many, the labelled ones, then by layer."""
    allowed = _among(db, dictionaries, conditions)
    if query.label_words:
        labelled = by_label(db, query.label_words, allowed)
        if not query.words:
            return FoundFeatures(np.array(labelled, dtype=np.int64))
        allowed = replace(allowed, ids=np.array(labelled, dtype=np.int64))
    found = by_words(db, query.words, allowed)
    return FoundFeatures(np.array(found.ids, dtype=np.int64), found.scores, found.cut)


def _among(db: Database, dictionaries: list[int], conditions: list[_Condition]) -> Among:
    """Conditions that few features meet are turned into their ids; the others are tested on what the words find."""
    n_all = db.execute("SELECT count(*) FROM dictionary").fetchone()[0]
    allowed = Among(dictionaries, len(dictionaries) == n_all)
    ids: Ids | None = None
    for condition in conditions:
        met = _few_that_meet(db, condition) if condition.listing else None
        if met is None:
            where, values = f"{allowed.where} AND {condition.sql}", (*allowed.values, *condition.values)
            allowed = replace(allowed, where=where, values=values)
        else:
            ids = met if ids is None else np.intersect1d(ids, met)
    return replace(allowed, ids=ids)


def _few_that_meet(db: Database, condition: _Condition) -> Ids | None:
    """The ids, ascending; None if they are not few."""
    counted = f"SELECT count(*) FROM ({condition.listing} LIMIT {FEW + 1})"
    if db.execute(counted, condition.values).fetchone()[0] > FEW:
        return None
    found = db.execute(condition.listing, condition.values).fetchall()
    return np.unique(np.array([row[0] for row in found], dtype=np.int64))
