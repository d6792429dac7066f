"""Quality: which features of a set are dead, dense, duplicated or bound to one token, and how few carry the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.contexts import Context as Example
    from store.project import Project
    from tasks.context import Context
    from tasks.dictionaries.coverage import Coverage
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.dictionaries.protocol import Dictionary
    from tasks.model.language_model import LanguageModel

_CUTS = 16
_SHARES = (0.01, 0.1, 0.25, 0.5, 0.75)
_LISTED = 20
_LEAST_EXAMPLES = 4
"""Contexts without which nobody can say that a feature is bound to a token."""


class Params(_Params):
    """The options of `workbench features quality`."""

    dictionary: str = option("sae", "The set, indexed.", argument=True)
    layers: str = option("", "Layers of the set, as 4-12,20; all if left out.")
    dense: float = option(0.1, "Density above which a feature is dense.", unit="share of tokens", gt=0, le=1)
    ultra_dense: float = option(0.5, "Density above which it is ultra-dense.", unit="share of tokens", gt=0, le=1)
    alike: float = option(0.9, "Cosine of write vectors above which features are duplicates.", gt=0, le=1)
    bound: float = option(0.9, "Share of its examples on one token from which it is bound to it.", gt=0, le=1)
    tokens: int = option(4096, "Held-out tokens that coverage is measured on; 0 leaves it out.", unit="tokens", ge=0)


@dataclass(frozen=True)
class IndexedRow:
    """What the index says of one feature, as far as this report asks."""

    feature: int
    density: float
    mean_square: float
    """Of its activation, over all tokens."""
    token: str
    """The token that most of its examples are on."""
    token_share: float
    """Of its examples; 0 of a feature with too few."""


@dataclass(frozen=True)
class Result:
    """The report of each layer."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: the report is the job's document."""
        return self.document


def run(params: Params, context: Context) -> Result:
    """What the index says, duplicates from the weights, and coverage from one pass over held-out text."""
    from tasks.dictionaries.loading import NEURONS, dictionary_ids
    from tasks.indexing.indexed_text import indexed_text

    held = context.dictionary_set(params.dictionary)
    text = indexed_text(context.project, params.dictionary, context.model)
    ids = dictionary_ids(context.project, params.dictionary)
    there = sorted(set(held.layers) & set(ids))
    layers = context.model.parse_layers(params.layers) if params.layers.strip() else there
    held = held.only(layers)
    everywhere = params.dictionary == NEURONS
    rows = {layer: indexed_rows(context.project, ids.get(layer, 0), everywhere=everywhere) for layer in layers}
    coverage = _coverage(params, context, held, rows, text) if params.tokens else {}
    documents = []
    with context.stage("comparing write vectors", len(layers), "layers") as stage:
        for layer in layers:
            documents.append(_layer_document(params, context.model, held[layer], rows[layer], coverage.get(layer)))
            stage.advance()
    thresholds = {name: getattr(params, name) for name in ("dense", "ultra_dense", "alike", "bound")}
    return Result(
        {
            "dictionary": params.dictionary,
            "thresholds": thresholds,
            "indexed_tokens": text.n_tokens,
            "coverage_tokens": next(iter(coverage.values())).n_rows if coverage else 0,
            "layers": documents,
        }
    )


def indexed_rows(project: Project, dictionary_id: int, *, everywhere: bool = False) -> list[IndexedRow]:
    """The features of one layer in their order; `BadInput` if none is indexed.

    `everywhere`: they are neurons, not zero on any token, and their density is the share above zero.
    """
    from store.contexts import unpack_contexts

    sql = """SELECT feature, density, mean, coalesce(standard_deviation, 0.0), packed, sampled FROM feature
        LEFT JOIN context ON context.feature_id = feature.id
        LEFT JOIN feature_detail ON feature_detail.feature_id = feature.id
        WHERE dictionary_id = ? ORDER BY feature"""
    found = []
    texts: dict[int, str] = dict(project.db.execute("SELECT token, text FROM token_text").fetchall())
    for feature, density, mean, deviation, strongest, sampled in project.db.execute(sql, [dictionary_id]).fetchall():
        packed = sampled or strongest
        token, share = _most_frequent(unpack_contexts(packed) if packed else [], texts)
        not_zero = 1.0 if everywhere else density
        found.append(IndexedRow(feature, density, not_zero * (mean**2 + deviation**2), token, share))
    if not found:
        raise BadInput("that layer is not indexed", "`workbench index` describes its features")
    return found


def cuts_of(n_features: int) -> list[int]:
    """Numbers of features from 1 to all: evenly spaced in their logarithm, and some round shares."""
    spaced = (round(n_features ** (place / (_CUTS - 1))) for place in range(_CUTS))
    return sorted({max(1, cut) for cut in (*spaced, *(round(share * n_features) for share in _SHARES))})


def features_for(share: float, cuts: Sequence[int], explained: Sequence[float]) -> int | None:
    """The fewest features, of the cuts, that explain this share of what all explain; None if that is nothing."""
    if explained[-1] <= 0:
        return None
    return next(cut for cut, value in zip(cuts, explained, strict=True) if value >= share * explained[-1])


def _most_frequent(examples: Iterable[Example], texts: dict[int, str]) -> tuple[str, float]:
    """The token, whatever its case and the blank before it, that most examples are on, and their share."""
    at = [texts.get(context.tokens[context.at], f"<{context.tokens[context.at]}>") for context in examples]
    if len(at) < _LEAST_EXAMPLES:
        return "", 0.0
    counts = Counter(token.strip().lower() or token for token in at)
    token, count = counts.most_common(1)[0]
    return token, count / len(at)


def _coverage(
    params: Params, context: Context, held: DictionarySet, rows: dict[int, list[IndexedRow]], text: Any
) -> dict[int, Coverage]:
    """One pass over held-out text for all layers. Of a transcoder it is the MLP's output that is explained."""
    from tasks.dictionaries.corpus_text import CorpusText
    from tasks.dictionaries.protocol import Site
    from tasks.model.hidden import stream_hidden

    assert isinstance(text, CorpusText)
    layers = sorted(held.layers)
    measured = {layer: _measure(held, layer, rows[layer]) for layer in layers}
    of_input = held[layers[0]].reads is Site.MLP_INPUT
    windows = text.validation_windows(params.tokens)
    with context.stage("measuring coverage", params.tokens, "tokens") as stage:
        for streamed in stream_hidden(context.model, windows, layers, "mlp" if of_input else "down"):
            for layer, x in streamed.hidden.items():
                measured[layer].add(x, context.model.layers[layer].mlp if of_input else None)
            stage.advance(streamed.n_rows)
    return measured


def _measure(held: DictionarySet, layer: int, rows: list[IndexedRow]) -> Coverage:
    """Ranked by the mean square of what a feature writes, as the index saw it: density · E[z²] · ‖write vector‖²."""
    import torch

    from tasks.dictionaries.coverage import Coverage

    dictionary = held[layer]
    mean_square = torch.zeros(dictionary.n_features, device=dictionary.write_bias.device)
    for row in rows:
        mean_square[row.feature] = row.mean_square
    everything = torch.arange(dictionary.n_features, device=mean_square.device)
    norms = torch.cat([dictionary.write_vectors(some).float().square().sum(1) for some in everything.split(4096)])
    ranked = (mean_square * norms).argsort(descending=True, stable=True)
    return Coverage(dictionary, ranked, cuts_of(dictionary.n_features))


def _layer_document(
    params: Params, model: LanguageModel, dictionary: Dictionary, rows: list[IndexedRow], coverage: Coverage | None
) -> dict[str, Any]:
    from tasks.dictionaries.coverage import alike, in_pairs

    layer = dictionary.layer
    pairs = alike(model, dictionary, params.alike)
    dense = sorted((row for row in rows if row.density > params.dense), key=lambda row: -row.density)
    bound = sorted((row for row in rows if row.token_share >= params.bound), key=lambda row: -row.mean_square)
    cuts = cuts_of(dictionary.n_features)
    explained = coverage.explained() if coverage else []
    return {
        "layer": layer,
        "features": len(rows),
        "dead": sum(row.density == 0 for row in rows),
        "dense": len(dense),
        "ultra_dense": sum(row.density > params.ultra_dense for row in rows),
        "duplicates": len(in_pairs(pairs)),
        "token_bound": len(bound),
        "variance_explained": explained[-1] if explained else None,
        "features_for_half": features_for(0.5, cuts, explained) if explained else None,
        "features_for_nine_tenths": features_for(0.9, cuts, explained) if explained else None,
        "coverage": [{"features": k, "variance_explained": v} for k, v in zip(cuts, explained, strict=False)],
        "densest": [{"feature": f"L{layer}/{row.feature}", "density": row.density} for row in dense[:_LISTED]],
        "alike": [
            {"feature": f"L{layer}/{first}", "other": f"L{layer}/{second}", "cosine": cosine}
            for first, second, cosine in pairs[:_LISTED]
        ],
        "bound": [
            {"feature": f"L{layer}/{row.feature}", "token": row.token, "share": row.token_share}
            for row in bound[:_LISTED]
        ],
    }
