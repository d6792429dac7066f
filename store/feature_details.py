"""What an index keeps of a feature beside its row: moments, examples by quantile, and what is like it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store import contexts
from store.errors import Damaged

if TYPE_CHECKING:
    from sqlite_utils import Database

N_QUANTILES = 5
"""Examples are shown in fifths of the activations, the strongest fifth first."""
_NEIGHBOUR = struct.Struct("<If")
Neighbours = Sequence[tuple[int, float]]
"""(feature of the same layer, likeness), the most alike first."""


def pack_neighbours(neighbours: Neighbours) -> bytes:
    """Eight bytes each, likeness rounded to float32."""
    return b"".join(_NEIGHBOUR.pack(*each) for each in neighbours)


def unpack_neighbours(packed: bytes) -> list[tuple[int, float]]:
    """The neighbours of a blob; `Damaged` if it is not one."""
    if len(packed) % _NEIGHBOUR.size:
        raise Damaged(f"a blob of neighbours has {len(packed)} bytes", "run `workbench index` again")
    return list(_NEIGHBOUR.iter_unpack(packed))


@dataclass(frozen=True)
class FeatureDetail:
    """One row of table `feature_detail`, read. Moments are of the activation where it is not zero."""

    standard_deviation: float
    skewness: float
    kurtosis: float
    sampled: list[contexts.Context]
    """Drawn from all tokens that the feature is active on, strongest first."""
    lowest: list[contexts.Context]
    """Where it is furthest below zero; empty of a feature that never is."""
    by_decoder: list[tuple[int, float]]
    """Cosine of write vectors."""
    by_coactivation: list[tuple[int, float]]
    """Of the sampled tokens on which either is active, the share on which both are."""


def find_detail(db: Database, feature_id: int) -> FeatureDetail | None:
    """What is kept of the feature in that row; None if it was indexed before this was."""
    sql = """SELECT standard_deviation, skewness, kurtosis, sampled, lowest, by_decoder, by_coactivation
        FROM feature_detail WHERE feature_id = ?"""
    row = db.execute(sql, [feature_id]).fetchone()
    if row is None:
        return None
    deviation, skewness, kurtosis, sampled, lowest, by_decoder, by_coactivation = row
    return FeatureDetail(
        deviation,
        skewness,
        kurtosis,
        contexts.unpack_contexts(sampled),
        [_below_zero(context) for context in contexts.unpack_contexts(lowest)] if lowest else [],
        unpack_neighbours(by_decoder),
        unpack_neighbours(by_coactivation),
    )


def quantile_bounds(place: int, n: int) -> tuple[float, float]:
    """The fifth that the `place`-th strongest of `n` sampled examples stands for, as shares of the activations."""
    below = N_QUANTILES - 1 - place * N_QUANTILES // n
    return below / N_QUANTILES, (below + 1) / N_QUANTILES


def detail_document(db: Database, dictionary_id: int, detail: FeatureDetail | None) -> dict[str, Any]:
    """What a card says of it; each key None of a feature that was indexed before this was kept.

    `moments`; `quantiles`, a list of {from, to, contexts}, the strongest fifth first; `lowest`, contexts; `neighbours`
    with the words of each.
    """
    if detail is None:
        return {"moments": None, "quantiles": None, "lowest": None, "neighbours": None}
    texts = token_texts(db, [*detail.sampled, *detail.lowest])
    words = _words(db, dictionary_id, [feature for feature, _ in detail.by_decoder + detail.by_coactivation])
    return {
        "moments": {name: getattr(detail, name) for name in ("standard_deviation", "skewness", "kurtosis")},
        "quantiles": _quantiles(contexts.texts_of(detail.sampled, texts)),
        "lowest": contexts.texts_of(detail.lowest, texts),
        "neighbours": {
            "by_decoder": [words[feature] | {"cosine": cosine} for feature, cosine in detail.by_decoder],
            "by_coactivation": [words[feature] | {"share": share} for feature, share in detail.by_coactivation],
        },
    }


def token_texts(db: Database, found: Sequence[contexts.Context]) -> dict[int, str]:
    """Token id -> text, of the tokens of these contexts."""
    tokens = sorted({token for context in found for token in context.tokens})
    sql = "SELECT token, text FROM token_text WHERE token IN (SELECT value FROM json_each(?))"
    return dict(db.execute(sql, [json.dumps(tokens)]).fetchall())


def _below_zero(context: contexts.Context) -> contexts.Context:
    values = tuple(-value for value in context.values)
    return contexts.Context(context.document, context.position, -context.activation, context.tokens, values, context.at)


def _quantiles(documents: Sequence[dict[str, object]]) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[dict[str, object]]] = {}
    for place, document in enumerate(documents):
        groups.setdefault(quantile_bounds(place, len(documents)), []).append(document)
    return [{"from": low, "to": high, "contexts": held} for (low, high), held in groups.items()]


def _words(db: Database, dictionary_id: int, features: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    """What lists say of features of one layer; of one that has no row, its name alone."""
    [(layer,)] = db.execute("SELECT layer FROM dictionary WHERE id = ?", [dictionary_id]).fetchall()
    sql = """SELECT feature, label, density, maximum, promoted, fires_on FROM feature
        WHERE dictionary_id = ? AND feature IN (SELECT value FROM json_each(?))"""
    rows = {row["feature"]: row for row in db.query(sql, [dictionary_id, json.dumps(sorted(set(features)))])}
    found = {}
    for feature in features:
        known = rows.get(feature)
        found[feature] = {"feature": f"L{layer}/{feature}"}
        if known is not None:
            read = {name: json.loads(known[name]) for name in ("promoted", "fires_on")}
            found[feature] |= {name: known[name] for name in ("label", "density", "maximum")} | read
    return found
