"""What the pane reads, in the store's thread: plain data, no rows of an open database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store import dictionaries, graphs
from store.errors import Missing
from store.feature_search import SORTS, Ids
from store.features import FeatureRow, find, indexed, rows_of
from tasks.graphs.active_features import GRAPH_SORTS, Search, is_indexed, search
from workbench.tui.place import Place

if TYPE_CHECKING:
    from store.project import Project

_NO_SET = """There is no dictionary set in this project yet.

  workbench train --layers 12              trains sparse autoencoders
  workbench dictionaries import FOLDER     takes what others have trained

"""
_NO_INDEX = """No feature is described yet. An index says of each feature how often
and on what it is active, and which tokens it promotes; it is made in one
pass over some text.

  i                                        here: the worker makes an index
  workbench index --dictionary SET         in a shell
"""
FIRST = 256
"""Features that are shown while the rest of a long list is still being found."""
NEURONS = "neurons"
_MOST_LOOKED_AT, _LOOKED_AT_ONCE = 5000, 500
_FIRST_LIMIT_S, _WHOLE_LIMIT_S = 2.0, 10.0
SORT_WORDS = {
    "": "best first", "place": "by layer", "density": "most frequent first", "rarity": "rarest first",
    "maximum": "strongest first", "label": "by label", "activation": "by activation in the graph",
    "effect": "by predicted effect in the graph",
}  # fmt: skip


@dataclass(frozen=True)
class Stamp:
    """What changes when somebody writes something that the pane shows."""

    features: int
    words: tuple[int, int]
    places: tuple[int, int, int]


def stamp(project: Project) -> Stamp:
    """The newest feature, label and star count, and the newest graph, effect and intervention."""

    def newest(table: str) -> int:
        return int(project.db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])

    stars = int(project.db.execute("SELECT count(*) FROM star").fetchone()[0])
    return Stamp(newest("feature"), (newest("label_change"), stars), (newest("graph"), newest("effect"),
                                                                      newest("intervention")))  # fmt: skip


def first_page(project: Project, text: str, sort: str) -> Search:
    """The beginning of what a query finds."""
    return search(project, text, sort=sort, limit=FIRST, time_limit_s=_FIRST_LIMIT_S)


def whole(project: Project, text: str, sort: str) -> Search:
    """All that a query finds."""
    return search(project, text, sort=sort, time_limit_s=_WHOLE_LIMIT_S)


def rows_reader(ids: Sequence[int]) -> Callable[[Project], dict[int, FeatureRow]]:
    """What reads these rows of a list."""
    return lambda project: rows_of(project.db, ids)


def sorts_for(text: str) -> tuple[str, ...]:
    """The orders that make sense for a query, the natural one first."""
    words = ("",) if text.strip() else ()
    return (*words, *SORTS, *(GRAPH_SORTS if "in:" in text.replace("not-in:", "") else ()))


def emptiness(project: Project) -> str:
    """Why there is no feature to show, and what makes some; empty if there are."""
    if indexed(project.db):
        return ""
    if dictionaries.listing(project.db):
        return _NO_INDEX
    return f"{_NO_SET}{_NO_INDEX}"


def unindexed(project: Project) -> list[str]:
    """The sets of which some layer was not described, and the model's neurons if they were not."""
    sets = dictionaries.listing(project.db)
    names = [name for name, layers in sets.items() if any(layer.n_indexed == 0 for layer in layers)]
    return names if is_indexed(project, NEURONS) else [*names, NEURONS]


def unlabelled(project: Project, ids: Ids, dictionary: str, most: int) -> list[str]:
    """The first features of a list that are of this set, are active anywhere and have no label; `most` at most."""
    found: list[str] = []
    for first in range(0, min(len(ids), _MOST_LOOKED_AT), _LOOKED_AT_ONCE):
        some: list[int] = ids[first : first + _LOOKED_AT_ONCE].tolist()
        rows = rows_of(project.db, some)
        chosen = (rows[row_id] for row_id in some if row_id in rows)
        found += [row.name for row in chosen if row.dictionary == dictionary and row.maximum and not row.label]
        if len(found) >= most:
            break
    return found[:most]


def described_sets(project: Project) -> list[str]:
    """The sets that are described, at least in part."""
    sets = dictionaries.listing(project.db, indexed=True)
    return [name for name, layers in sets.items() if any(layer.n_indexed for layer in layers)]


def quality_report(project: Project, dictionary: str) -> dict[str, Any] | None:
    """The newest report of task `feature-quality` on this set; None if its index is newer."""
    sql = """SELECT id, result FROM job WHERE kind = ? AND state = 'succeeded'
        AND coalesce(json_extract(params, '$.dictionary'), 'sae') = ? ORDER BY id DESC LIMIT 1"""
    report = project.db.execute(sql, ["feature-quality", dictionary]).fetchone()
    index = project.db.execute(sql, ["index", dictionary]).fetchone()
    if report is None or (index is not None and index[0] > report[0]):
        return None
    return {**json.loads(report[1]), "job": report[0]}


def feature_at(project: Project, place: Place, before: Place) -> tuple[str, str] | None:
    """(dictionary set, name) of the feature that a place looks at; `before` is where the pane looked last.

    A place keeps what was looked at earlier, so the part that has changed counts.
    """
    node = place.node.split("@")[0]
    if place.node != before.node and node and _is_feature(node):
        return _set_of(project, place), node
    if place.feature and (place.feature, place.dictionary) != (before.feature, before.dictionary):
        return place.dictionary, place.feature
    return None


def _is_feature(name: str) -> bool:
    return name.startswith("L") and "/" in name


def _set_of(project: Project, place: Place) -> str:
    try:
        return graphs.find(project.db, place.graph).dictionary if place.graph else place.dictionary
    except Missing:
        return place.dictionary


def indexed_id(project: Project, dictionary: str, name: str) -> int | None:
    """The row of a feature; None if it is not indexed."""
    try:
        return find(project.db, name, dictionary or None).id
    except Missing:
        return None


@dataclass(frozen=True)
class GraphChoice:
    """A graph that can be searched in."""

    graph: int
    prompt: str
    dictionary: str
    tokens: tuple[str, ...]


def searchable_graphs(project: Project) -> list[GraphChoice]:
    """The graphs of dictionary sets, newest first; those of neurons once they are described."""
    neurons = is_indexed(project, NEURONS)
    return [
        GraphChoice(record.id, record.prompt, record.dictionary, tuple(record.summary.get("tokens", ())))
        for record in graphs.listing(project.db)
        if neurons or record.dictionary != NEURONS
    ]
