"""The nearest features of the same layer by decoder cosine, and of others by tokens promoted in common; no torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from store import dictionaries
from store.errors import Damaged, WorkbenchError
from store.feature_details import find_detail
from store.feature_search import place_ids, time_limit
from store.features import FeatureRecord, FeatureRow, rows_of
from store.search import quoted_words

if TYPE_CHECKING:
    from store.project import Project

Floats = NDArray[np.float32]
_DECODER = "W_dec"
_ROWS_AT_ONCE = 2048
_LONGEST_S = 1.0


@dataclass(frozen=True)
class Neighbours:
    """The features that are most like one."""

    by_decoder: list[tuple[FeatureRow, float]]
    """With the cosine of their decoder rows, largest first; features of the same layer only, whose rows are in the same
    space."""
    by_tokens: list[tuple[FeatureRow, int]]
    """Of other layers, with how many of the most promoted tokens they have in common, most first."""

    def document(self) -> dict[str, Any]:
        """What `features neighbours --json` prints."""
        return {
            "by_decoder": [row.document() | {"cosine": cosine} for row, cosine in self.by_decoder],
            "by_tokens": [row.document() | {"tokens_in_common": shared} for row, shared in self.by_tokens],
        }


def neighbours(project: Project, record: FeatureRecord, n: int = 10) -> Neighbours:
    """The `n` nearest features of an indexed one; `Damaged` if the weights of its layer cannot be read.

    Of sets whose weights are no file of the project, neurons and transcoders, there are those that the index kept.
    """
    near = _stored(project, record, n) or decoder_neighbours(project, record, n)
    ids = place_ids(project.db, record.dictionary, [(record.layer, feature) for feature, _ in near])
    shared = _promoting_the_same(project, record, n)
    rows = rows_of(project.db, [*ids.values(), *(row_id for row_id, _ in shared)])
    return Neighbours(
        [(rows[ids[record.layer, feature]], cosine) for feature, cosine in near if (record.layer, feature) in ids],
        [(rows[row_id], count) for row_id, count in shared],
    )


def _stored(project: Project, record: FeatureRecord, n: int) -> list[tuple[int, float]]:
    """Those that the index kept, if they are as many as are asked for or all that there can be."""
    detail = find_detail(project.db, record.id)
    if detail is None:
        return []
    sql = "SELECT file_id IS NULL FROM dictionary WHERE id = ?"
    [(without_file,)] = project.db.execute(sql, [record.dictionary_id]).fetchall()
    return detail.by_decoder[:n] if without_file or len(detail.by_decoder) >= n else []


def decoder_neighbours(project: Project, record: FeatureRecord, n: int) -> list[tuple[int, float]]:
    """(feature, cosine) of the features of the same layer whose decoder rows point the same way, largest first."""
    layers = {each.layer: each for each in dictionaries.find(project.db, record.dictionary)}
    path = project.files.verify(layers[record.layer].weights)
    cosines: list[Floats] = []
    try:
        with safe_open(path, framework="np") as file:
            decoder = file.get_slice(_DECODER)
            own = _unit(decoder[record.feature : record.feature + 1].astype(np.float32))[0]
            cosines = [_unit(rows) @ own for rows in _blocks(decoder)]
    except (OSError, SafetensorError, IndexError) as error:
        raise Damaged(f"{path.name} does not hold a decoder", "restore it from a copy or a pack") from error
    cosine = np.concatenate(cosines)
    cosine[record.feature] = -np.inf
    nearest = np.argsort(-cosine, kind="stable")[:n]
    return [(int(feature), float(cosine[feature])) for feature in nearest if np.isfinite(cosine[feature])]


def _blocks(decoder: Any) -> Iterator[Floats]:
    n_features = decoder.get_shape()[0]
    for first in range(0, n_features, _ROWS_AT_ONCE):
        yield decoder[first : min(first + _ROWS_AT_ONCE, n_features)].astype(np.float32)


def _unit(rows: Floats) -> Floats:
    """Rows of length one; a row of zeros stays one."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return unit


def _promoting_the_same(project: Project, record: FeatureRecord, n: int) -> list[tuple[int, int]]:
    """(id, tokens in common) of features of other layers of the set, found by the words of the promoted tokens."""
    own = {token for token, _ in record.promoted}
    shared: Counter[int] = Counter()
    sql = """SELECT feature.id, feature.promoted FROM feature_fts JOIN feature ON feature.id = feature_fts.rowid
        JOIN dictionary ON dictionary.id = feature.dictionary_id
        WHERE feature_fts MATCH ? AND dictionary.name = ? AND dictionary.layer != ? LIMIT 500"""
    for token in own:
        try:
            match = "{promoted} : " + quoted_words([token])[0]
            with time_limit(project.db, _LONGEST_S / len(own)):
                rows = project.db.execute(sql, [match, record.dictionary, record.layer]).fetchall()
        except WorkbenchError:
            continue  # a token without letters or digits, or one that too many promote, says nothing of likeness
        for row_id, promoted in rows:
            if row_id not in shared:
                shared[row_id] = len(own & {other for other, _ in json.loads(promoted)})
    return [(row_id, count) for row_id, count in shared.most_common(n) if count > 1]


def document(record: FeatureRecord, found: Neighbours) -> dict[str, Any]:
    """What `features neighbours --json` prints, with the feature itself."""
    return {"dictionary": record.dictionary, "feature": record.name} | found.document()
