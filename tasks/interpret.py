"""Index: density, strongest examples, histogram and promoted tokens of every feature, made searchable (METHOD §7)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.contexts import N_CONTEXTS, TOKENS_AFTER, TOKENS_BEFORE, pack_contexts
from store.contexts import Context as StoredContext
from store.errors import BadInput
from store.search import Example, encodable, index_feature, pack_examples
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from torch import Tensor

    from store.features import FeatureRecord
    from store.project import Project
    from tasks.context import Context
    from tasks.corpora.tokens import ContextReader
    from tasks.dictionaries.corpus_text import CorpusText
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.dictionaries.feature_statistics import FeatureStatistics, FeatureSummary
    from tasks.dictionaries.shards import ShardRows
    from tasks.model.language_model import LanguageModel

_EXAMPLES_IN_SEARCH = 5
_TOKENS_BEFORE_IN_SEARCH, _TOKENS_AFTER_IN_SEARCH = 4, 1
_TOKENS_BEFORE_IN_CARD, _TOKENS_AFTER_IN_CARD = 12, 4


class Params(_Params):
    """The options of `workbench index`."""

    dictionary: str = option("sae", "The set to describe.")
    layers: str = option("", "Layers of the set, as 4-12,20; all if left out.")
    capture: int = option(0, "Read this capture's shards; 0 streams from the model.", ge=0)
    tokens: int = option(20_000, "Tokens to read when streaming.", unit="tokens", ge=1)
    corpus: str = option("offline", "Text to read when streaming: offline, a file or directory, or hub:NAME.")
    context_length: int = option(64, "Longest window of one document when streaming.", unit="tokens", ge=2)
    validation_share: float = option(0.1, "Share of the tokens from held-out documents.", gt=0.0, le=0.5)
    examples: int = option(20, "Strongest contexts kept a feature.", ge=1, le=255)
    promoted: int = option(10, "Promoted and suppressed tokens kept a feature.", ge=1)
    seed: int = option(0, "Decides which documents are read when streaming.", ge=0)


@dataclass(frozen=True)
class IndexedFeature:
    """One feature, described."""

    feature: int
    summary: FeatureSummary
    promoted: list[tuple[str, float]]
    suppressed: list[tuple[str, float]]
    fires_on: list[str]
    """The tokens of its strongest examples, each once, strongest first."""
    example_text: str
    """What search finds it by, beside promoted tokens: the words around its strongest examples."""
    contexts: list[StoredContext]
    """Its strongest examples as texts, for the card."""


@dataclass(frozen=True)
class Result:
    """Every feature of some layers, described."""

    params: Params
    n_tokens: int
    layers: dict[int, list[IndexedFeature]]
    token_texts: dict[int, str]
    """Of the tokens in contexts."""

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `feature`, `example` and the search index, in place of older ones; labels stay."""
        from tasks.dictionaries.loading import dictionary_ids

        ids = dictionary_ids(project, self.params.dictionary)
        texts = ((token, encodable(text)) for token, text in self.token_texts.items())
        project.db.conn.executemany("INSERT OR REPLACE INTO token_text (token, text) VALUES (?, ?)", texts)
        for layer, features in self.layers.items():
            labels = _forget(project, ids[layer])
            for feature in features:
                _insert(project, ids[layer], feature, labels.get(feature.feature, ""))
        return {
            "dictionary": self.params.dictionary,
            "tokens": self.n_tokens,
            "features": sum(map(len, self.layers.values())),
            "layers": [_layer_document(layer, features) for layer, features in self.layers.items()],
        }


@dataclass(frozen=True)
class FeatureContext:
    """A stretch of a document around one activation. Texts are hostile: `show_token` them before they are shown."""

    document: int
    position: int
    activation: float
    before: list[str]
    token: str
    after: list[str]


@dataclass(frozen=True)
class FeatureCard:
    """All there is to say of one feature: its row, and its strongest examples with their words, strongest first."""

    record: FeatureRecord
    contexts: list[FeatureContext]


def run(params: Params, context: Context) -> Result:
    """One pass over the rows of each layer, then each feature's words."""
    from tasks.corpora.tokens import ContextReader
    from tasks.dictionaries.corpus_text import SPLITS
    from tasks.dictionaries.feature_statistics import FeatureStatistics
    from tasks.dictionaries.loading import refuse_transcoders

    model = context.model
    if params.dictionary == "neurons":
        raise BadInput("neurons have no rows to describe", "name a trained set")
    refuse_transcoders(params.dictionary, "index")
    held = context.dictionary_set(params.dictionary)
    layers = _layers(params, model, held)
    statistics = {layer: FeatureStatistics(held[layer], params.examples) for layer in layers}
    text = corpus_text(context.project, params.model_dump(), model)
    total = len(layers) * sum(map(text.n_rows, SPLITS))
    with context.stage("reading activations", total, "tokens x layers") as stage:
        for layer, rows in _rows(params, context, text, layers):
            statistics[layer].add(rows.h, rows.documents, rows.positions)
            stage.advance(len(rows.h))
    reader = ContextReader(model, text.corpus)
    described = {}
    with context.stage("describing features", len(layers), "layers") as stage:
        for layer in layers:
            described[layer] = _described(params, model, held, layer, statistics[layer], reader)
            stage.advance()
    tokens = {
        token for layer in described.values() for feature in layer for c in feature.contexts for token in c.tokens
    }
    texts = {token: model.token_text(token) for token in sorted(tokens)}
    return Result(params, next(iter(statistics.values())).n_tokens, described, texts)


def feature_card(project: Project, model: LanguageModel, name: str, dictionary: str | None = None) -> FeatureCard:
    """The card of an indexed feature such as `L12/345`, its contexts read again from the corpus that was indexed.

    Raises `BadInput` for a name that is none, `Missing` for a feature that is not indexed.
    """
    from store.features import find
    from tasks.corpora.tokens import ContextReader

    record = find(project.db, name, dictionary)
    sql = (
        "SELECT params FROM job WHERE kind = 'index' AND state = 'succeeded'"
        " AND json_extract(params, '$.dictionary') = ? ORDER BY id DESC LIMIT 1"
    )
    row = project.db.execute(sql, [record.dictionary]).fetchone()
    if row is None:
        return FeatureCard(record, [])
    reader = ContextReader(model, corpus_text(project, json.loads(row[0]), model).corpus)
    reader.prefetch(example.document for example in record.examples)
    return FeatureCard(record, [_context(model, reader, example) for example in record.examples])


def corpus_text(project: Project, params: dict[str, Any], model: LanguageModel) -> CorpusText:
    """The text that an index with these params reads: that of its capture, or its own."""
    from tasks.dictionaries.corpus_text import CorpusText

    if params["capture"]:
        sql = "SELECT params FROM job JOIN capture ON capture.job_id = job.id WHERE capture.id = ?"
        row = project.db.execute(sql, [params["capture"]]).fetchone()
        if row is None:
            raise BadInput(f"no capture {params['capture']} in this project", "`workbench capture` makes one")
        params = json.loads(row[0])
    names = ("corpus", "context_length", "tokens", "validation_share", "seed")
    return CorpusText(model, *(params[name] for name in names))


def _layers(params: Params, model: LanguageModel, held: DictionarySet) -> list[int]:
    chosen = model.parse_layers(params.layers) if params.layers.strip() else sorted(held.layers)
    absent = [layer for layer in chosen if layer not in held]
    if absent:
        raise BadInput(f"the set {params.dictionary!r} has no layer {absent[0]}", f"it has {sorted(held.layers)}")
    return chosen


def _rows(params: Params, context: Context, text: CorpusText, layers: list[int]) -> Iterator[tuple[int, ShardRows]]:
    """(layer, rows) from the capture, or from the model."""
    from tasks.dictionaries.activations import CapturedActivations
    from tasks.dictionaries.corpus_text import SPLITS
    from tasks.dictionaries.shards import ShardRows
    from tasks.model.hidden import stream_hidden

    if params.capture:
        captured = CapturedActivations.open(context.project, params.capture, layers)
        for layer in layers:
            for split in SPLITS:
                yield from ((layer, rows) for rows in captured.pieces(layer, split))
        return
    for split in SPLITS:
        for streamed in stream_hidden(context.model, text.windows(split), layers):
            for layer, h in streamed.hidden.items():
                yield layer, ShardRows(h, streamed.documents, streamed.positions)


def _described(
    params: Params,
    model: LanguageModel,
    held: DictionarySet,
    layer: int,
    statistics: FeatureStatistics,
    reader: ContextReader,
) -> list[IndexedFeature]:
    from tasks.dictionaries.logit_lens import token_weights

    weights = token_weights(model, held[layer], params.promoted)
    summaries = [statistics.summary(feature) for feature in range(held[layer].n_features)]
    in_search = [summary.examples[:_EXAMPLES_IN_SEARCH] for summary in summaries]
    reader.prefetch(example.document for summary in summaries for example in summary.examples[:N_CONTEXTS])
    return [
        IndexedFeature(
            feature,
            summary,
            _ranked(model, weights.promoted[feature], weights.promoted_logits[feature]),
            _ranked(model, weights.suppressed[feature], weights.suppressed_logits[feature]),
            _fires_on(model, reader, in_search[feature]),
            "\n".join(_words(model, reader, example) for example in in_search[feature]),
            _contexts(reader, summary),
        )
        for feature, summary in enumerate(summaries)
    ]


def _ranked(model: LanguageModel, tokens: Tensor, logits: Tensor) -> list[tuple[str, float]]:
    """Token texts with their logits."""
    return [(model.token_text(token), logit) for token, logit in zip(tokens.tolist(), logits.tolist(), strict=True)]


def _fires_on(model: LanguageModel, reader: ContextReader, examples: Sequence[Example]) -> list[str]:
    """Texts of the tokens at the examples, each once."""
    found = (reader.read_context(example.document, example.position, 0, 0) for example in examples)
    return list(dict.fromkeys(model.token_text(context.tokens[context.at]) for context in found))


def _words(model: LanguageModel, reader: ContextReader, example: Example) -> str:
    """A few tokens around an example, as text."""
    found = reader.read_context(example.document, example.position, _TOKENS_BEFORE_IN_SEARCH, _TOKENS_AFTER_IN_SEARCH)
    return str(model.tokenizer.decode(found.tokens))


def _contexts(reader: ContextReader, summary: FeatureSummary) -> list[StoredContext]:
    """The strongest examples with their tokens, and the feature's activation on each."""
    found = []
    for example, window in zip(summary.examples, summary.windows, strict=False):
        text = reader.read_context(example.document, example.position, TOKENS_BEFORE, TOKENS_AFTER)
        first = TOKENS_BEFORE - text.at
        values = tuple(window[first : first + len(text.tokens)])
        found.append(StoredContext(*example, tuple(text.tokens), values, text.at))
    return found


def _context(model: LanguageModel, reader: ContextReader, example: Example) -> FeatureContext:
    """A card's context: the token with more around it."""
    found = reader.read_context(example.document, example.position, _TOKENS_BEFORE_IN_CARD, _TOKENS_AFTER_IN_CARD)
    texts = [model.token_text(token) for token in found.tokens]
    return FeatureContext(*example, texts[: found.at], texts[found.at], texts[found.at + 1 :])


def _forget(project: Project, dictionary_id: int) -> dict[int, str]:
    """Remove what an earlier index said of this layer; returns the labels that features had."""
    sql = "SELECT feature, label FROM feature WHERE dictionary_id = ? AND label != ''"
    labels = {int(feature): str(label) for feature, label in project.db.execute(sql, [dictionary_id]).fetchall()}
    project.db.execute(
        "DELETE FROM feature_fts WHERE rowid IN (SELECT id FROM feature WHERE dictionary_id = ?)", [dictionary_id]
    )
    project.db.execute("DELETE FROM feature WHERE dictionary_id = ?", [dictionary_id])
    return labels


def _insert(project: Project, dictionary_id: int, feature: IndexedFeature, label: str) -> None:
    summary = feature.summary
    cursor = project.db.execute(
        "INSERT INTO feature (dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed,"
        " fires_on, label) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            dictionary_id,
            feature.feature,
            summary.density,
            summary.maximum,
            summary.mean,
            json.dumps(summary.histogram),
            json.dumps(feature.promoted),
            json.dumps(feature.suppressed),
            json.dumps(feature.fires_on),
            label,
        ],
    )
    feature_id = int(cursor.lastrowid or 0)
    project.db.execute(
        "INSERT INTO example (feature_id, packed) VALUES (?, ?)", [feature_id, pack_examples(summary.examples)]
    )
    project.db.execute(
        "INSERT INTO context (feature_id, words, packed) VALUES (?, ?, ?)",
        [feature_id, encodable(feature.example_text), pack_contexts(feature.contexts)],
    )
    index_feature(project.db, feature_id, label, feature.example_text, " ".join(token for token, _ in feature.promoted))


def _layer_document(layer: int, features: list[IndexedFeature]) -> dict[str, Any]:
    densities = sorted(feature.summary.density for feature in features)
    return {
        "layer": layer,
        "features": len(features),
        "silent": sum(density == 0 for density in densities),
        "median_density": densities[len(densities) // 2],
        "highest_density": densities[-1],
    }
