"""Which features are active where in stored graphs, kept or not: contrast search and search by example. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from store import graphs
from store.errors import BadInput, Damaged
from store.feature_query import FeatureQuery, GraphPart, parse_query
from store.feature_search import SORTS, FoundFeatures, find_features, place_ids
from store.features import rows_of

if TYPE_CHECKING:
    from store.project import Project

GRAPH_SORTS = ("activation", "effect")
"""Orders that a search in a graph has beside `SORTS`: by activation there, by size of the predicted effect there."""
_NEURONS = "neurons"
Place = tuple[int, int]


@dataclass(frozen=True)
class Activity:
    """What one feature does in a graph, over the positions that were asked for."""

    activation: float
    """The largest."""
    position: int
    """Where that is."""
    predicted_effect: float
    """The largest in size, in nats of the decisive target; NaN where it is not known."""


@dataclass(frozen=True)
class Search:
    """What a search found, and what each feature does in the first graph that was named."""

    found: FoundFeatures
    activity: dict[int, Activity]
    """By id of the feature's row; empty where the query names no graph."""


def search(
    project: Project, text: str, *, sort: str = "", limit: int | None = None, time_limit_s: float = 2.0
) -> Search:
    """The features that a query (`store.feature_query`) asks for, in the order `sort`.

    Raises `BadInput` for a query that cannot be read, a graph of neurons (which have no index), an order that needs a
    graph, and `Missing` for a graph that is not there.
    """
    query = parse_query(text)
    if sort and sort not in (*SORTS, *GRAPH_SORTS):
        raise BadInput(f"features are not sorted by {sort!r}", f"sort them by {', '.join((*SORTS, *GRAPH_SORTS))}")
    if not query.active_in and not query.inactive_in:
        if sort in GRAPH_SORTS:
            raise BadInput(f"an order by {sort} needs a graph", "name one with in:5 or in:5@7")
        return Search(find_features(project.db, query, sort=sort, limit=limit, time_limit_s=time_limit_s), {})
    activity, among = _within_graphs(project, query)
    plain = "" if sort in GRAPH_SORTS else sort
    found = find_features(project.db, query, sort=plain, among=among, time_limit_s=time_limit_s)
    if sort in GRAPH_SORTS or (not sort and not query.words and activity):
        found = _by_activity(found, activity, sort or "activation")
    return Search(FoundFeatures(found.ids[:limit], found.scores, found.cut), activity)


def search_documents(project: Project, text: str, sort: str = "", limit: int = 20) -> list[dict[str, Any]]:
    """What `features search --json` lists: the features in their order, with what each does in the graph if any."""
    results = search(project, text, sort=sort, limit=limit)
    ids = results.found.ids.tolist()
    rows = rows_of(project.db, ids)
    return [
        rows[row_id].document()
        | {"score": results.found.scores.get(row_id)}
        | (asdict(results.activity[row_id]) if row_id in results.activity else {})
        for row_id in ids
    ]


def active_in(project: Project, part: GraphPart) -> tuple[str, dict[Place, Activity]]:
    """The dictionary set of a graph, and (layer, feature) -> activity of every feature that is active in that part."""
    record = graphs.find(project.db, part.graph)
    if record.dictionary == _NEURONS and not is_indexed(project, _NEURONS):
        raise BadInput(
            f"graph {part.graph} is of neurons, which have no index",
            "run `workbench index --dictionary neurons`, or trace its prompt with a dictionary set",
        )
    n_positions = len(record.token_ids)
    if part.position is not None and not -n_positions <= part.position < n_positions:
        raise BadInput(f"graph {part.graph} has no position {part.position}", f"it has 0 to {n_positions - 1}")
    layer, position, index, activation, effect = _active_arrays(project, part.graph)
    chosen = np.ones(len(layer), dtype=bool) if part.position is None else position == part.position % n_positions
    found: dict[Place, Activity] = {}
    columns = (column[chosen].tolist() for column in (layer, index, activation, position, effect))
    for where, feature, value, at, predicted in zip(*columns, strict=True):
        known = found.get((where, feature))
        found[where, feature] = (
            Activity(value, at, predicted) if known is None else _joined(known, value, at, predicted)
        )
    return record.dictionary, found


def _joined(known: Activity, activation: float, position: int, effect: float) -> Activity:
    """A feature at one position more."""
    largest = effect if not abs(known.predicted_effect) >= abs(effect) else known.predicted_effect
    if activation > known.activation:
        return Activity(activation, position, largest)
    return Activity(known.activation, known.position, largest)


def _active_arrays(project: Project, graph: int) -> list[np.ndarray]:
    """Layer, position, index, activation and predicted effect of every active feature, from the graph's file."""
    stored = graphs.arrays(project, graph)
    names = ("layer", "position", "index", "activation", "predicted_effect")
    try:
        with safe_open(project.directory / stored.path, framework="np") as file:
            return [file.get_tensor(f"active_{name}") for name in names]
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{stored.path} cannot be read", "restore it from a copy or a pack, or trace again") from error


def _within_graphs(project: Project, query: FeatureQuery) -> tuple[dict[int, Activity], list[int]]:
    """By id, what the features do in the first graph that they have to be active in; and the ids that may be found."""
    parts = [active_in(project, part) for part in query.active_in]
    absent = [active_in(project, part) for part in query.inactive_in]
    names = sorted({name for name, _ in (*parts, *absent)})
    if len(names) > 1:
        raise BadInput(f"these graphs are of the sets {' and '.join(names)}", "compare graphs of one dictionary set")
    places = _intersection([set(found) for _, found in parts]) if parts else _all_places(project, names[0])
    places -= {place for _, found in absent for place in found}
    ids = place_ids(project.db, names[0], places)
    first = parts[0][1] if parts else {}
    return {row_id: first[place] for place, row_id in ids.items() if place in first}, list(ids.values())


def _intersection(sets: Sequence[set[Place]]) -> set[Place]:
    return set.intersection(*sets)


def is_indexed(project: Project, dictionary: str) -> bool:
    """Whether features of that set, or of the neurons, are described."""
    sql = "SELECT EXISTS (SELECT 1 FROM feature JOIN dictionary ON dictionary.id = dictionary_id WHERE name = ?)"
    return bool(project.db.execute(sql, [dictionary]).fetchone()[0])


def _all_places(project: Project, dictionary: str) -> set[Place]:
    sql = """SELECT layer, feature.feature FROM feature JOIN dictionary ON dictionary.id = dictionary_id
        WHERE dictionary.name = ?"""
    return set(project.db.execute(sql, [dictionary]).fetchall())


def _by_activity(found: FoundFeatures, activity: dict[int, Activity], sort: str) -> FoundFeatures:
    def size(row_id: int) -> float:
        known = activity[row_id]
        return known.activation if sort == "activation" else abs(np.nan_to_num(known.predicted_effect))

    ids = found.ids.tolist()
    known = sorted((row_id for row_id in ids if row_id in activity), key=lambda row_id: (-size(row_id), row_id))
    rest = [row_id for row_id in ids if row_id not in activity]
    return FoundFeatures(np.array(known + rest, dtype=np.int64), found.scores, found.cut)
