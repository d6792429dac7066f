"""Index: density, moments, strongest examples, neighbours and promoted tokens of every feature, searchable (METHOD §7).

One streamed pass for all layers, of state that does not grow with the text; it resumes, and parts of it can be made on
several machines and joined.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store import jobs
from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.features import FeatureRecord
    from store.project import Project
    from store.search import Example
    from tasks.context import Context
    from tasks.corpora.tokens import ContextReader
    from tasks.dictionaries.corpus_text import CorpusText
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.indexing.describe import DescribedFeature, DescribedLayer
    from tasks.indexing.sources import Share, Source
    from tasks.indexing.text_pass import TextPass
    from tasks.model.language_model import LanguageModel

_PARTS = "activations"
"""The folder of a project that part files lie in."""
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
    neighbours: int = option(10, "Nearest features kept a feature, by decoder and by co-activation.", ge=0, le=100)
    part: str = option("", "Read this share of the text alone, as 2/4, and leave a part file for --merge.")
    merge: bool = option(False, "Join the part files of an index with these options, in place of reading text.")
    checkpoint: int = option(100_000, "A killed index goes on from the last of so many.", unit="tokens", ge=1)


@dataclass(frozen=True)
class Result:
    """Every feature of some layers, described."""

    params: Params
    n_tokens: int
    corpus_hash: str
    layers: dict[int, DescribedLayer]
    token_texts: dict[int, str]
    """Of the tokens in contexts, and some more."""
    state_bytes: tuple[int, int]
    """What the state of the pass took at its end: what adds up, and the examples."""
    parts: list[str]
    """The part files that were joined, if any; they are removed when the index is stored."""

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `feature`, `feature_detail`, `example`, `context` and the search index, in place of older
        ones; labels and stars stay."""
        from tasks.indexing.rows import save_features

        save_features(project, self.params.dictionary, self.layers, self.token_texts)
        _forget_checkpoints(self.params, project)
        n_features = sum(len(layer.features) for layer in self.layers.values())
        return {
            "dictionary": self.params.dictionary,
            "tokens": self.n_tokens,
            "features": n_features,
            "corpus_hash": self.corpus_hash,
            "state_bytes_a_feature": self.state_bytes[0] / max(1, n_features),
            "example_bytes_a_feature": self.state_bytes[1] / max(1, n_features),
            "parts": self.parts,
            "layers": [_layer_document(layer, held.features) for layer, held in self.layers.items()],
        }


@dataclass(frozen=True)
class PartResult:
    """A share of the text, counted in and left in a file."""

    params: Params
    n_tokens: int
    corpus_hash: str
    file: str

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: those come when the parts are joined."""
        _forget_checkpoints(self.params, project)
        return {
            "dictionary": self.params.dictionary,
            "part": self.params.part,
            "tokens": self.n_tokens,
            "corpus_hash": self.corpus_hash,
            "file": self.file,
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


def run(params: Params, context: Context) -> Result | PartResult:
    """One pass over the text for all layers, or over a part of it; then each feature's words."""
    from tasks.indexing.sources import Share

    share = Share.parse(params.part)
    if params.merge and share.of > 1:
        raise BadInput("--merge joins parts and --part makes one", "give one of them")
    held = context.dictionary_set(params.dictionary)
    layers = _layers(params, context.model, held)
    if params.merge:
        state, parts = _joined(params, context)
        context.when_saved(lambda: _remove_parts(context.project, parts))
    else:
        state, parts = _read(params, context, held, layers, share), []
    if share.of > 1:
        return _part_result(params, context, share, state)
    return _described(params, context, held, state, parts)


def _read(params: Params, context: Context, held: DictionarySet, layers: list[int], share: Share) -> TextPass:
    """The pass; one that was interrupted goes on where it was."""
    from tasks.indexing.text_pass import TextPass, read_text, resumed
    from tasks.training.checkpoints import Checkpoints

    model = context.model
    source, n_rows = _source(params, context, held, layers)
    checkpoints = Checkpoints.of(context.project, _key(params, context.project, with_source=True))
    state = resumed(checkpoints, source, model.device, context.progress.note)
    if state is None:
        state = TextPass.empty(held, layers, params.examples, model.device)
    seen = sum(layer.n_tokens for layer in state.layers.values())
    with context.stage("reading activations", n_rows * len(layers) / share.of, "tokens x layers") as stage:
        stage.advance(seen)
        return read_text(state, source, share, held, stage.advance, checkpoints, params.checkpoint)


def _source(params: Params, context: Context, held: DictionarySet, layers: list[int]) -> tuple[Source, int]:
    """Where rows come from, and about how many there are a layer."""
    from tasks.dictionaries.activations import CapturedActivations
    from tasks.dictionaries.protocol import Site
    from tasks.indexing.sources import StreamedSource, open_capture

    model = context.model
    text = corpus_text(context.project, params.model_dump(), model)
    reads = held[layers[0]].reads
    if not params.capture:
        return StreamedSource(model, text, layers, "mlp" if reads is Site.MLP_INPUT else "down"), params.tokens
    if reads is not Site.MLP_HIDDEN:
        raise BadInput(
            f"{params.dictionary} reads the MLP's input, and a capture holds its hidden activations",
            "leave --capture away: the text is streamed through the model",
        )
    captured = CapturedActivations.open(context.project, params.capture, layers)
    return open_capture(captured, text), captured.n_rows + captured.n_validation_rows


def _joined(params: Params, context: Context) -> tuple[TextPass, list[str]]:
    """The parts of this index that lie in the project's folder, as one."""
    from tasks.indexing.text_pass import joined

    project = context.project
    key = _key(params, project, with_source=False)
    state, paths = joined(project.directory / _PARTS, key, context.model.device, context.progress.note)
    return state, [path.relative_to(project.directory).as_posix() for path in paths]


def _remove_parts(project: Project, parts: Sequence[str]) -> None:
    """What was joined is not needed again."""
    for part in parts:
        (project.directory / part).unlink(missing_ok=True)


def _part_result(params: Params, context: Context, share: Share, state: TextPass) -> PartResult:
    from tasks.indexing.text_pass import write_part

    project = context.project
    path = write_part(project.directory / _PARTS, _key(params, project, with_source=False), share, state)
    return PartResult(params, state.n_tokens, state.corpus_hash, path.relative_to(project.directory).as_posix())


def _described(params: Params, context: Context, held: DictionarySet, state: TextPass, parts: list[str]) -> Result:
    from tasks.indexing.describe import TokenTexts, described

    model = context.model
    corpus = corpus_text(context.project, params.model_dump(), model).corpus
    texts = TokenTexts(model)
    layers = {layer: (held[layer], each) for layer, each in state.layers.items()}
    found = {}
    with context.stage("describing features", len(layers), "layers") as stage:
        for layer, features in described(model, layers, corpus, texts, params.promoted, params.neighbours):
            found[layer] = features
            stage.advance()
    adding, examples = (
        sum(sizes) for sizes in zip(*(each.state_bytes() for each in state.layers.values()), strict=True)
    )
    return Result(params, state.n_tokens, state.corpus_hash, found, texts.known, (adding, examples), parts)


def _key(params: Params, project: Project, *, with_source: bool) -> str:
    """Stands for all that decides the state of a pass; without its source, that is for all parts of one index, which
    may be made on several machines and are checked by the hash of their text."""
    said_last = {"merge", "checkpoint", "promoted", "neighbours"}
    left_out = said_last if with_source else {*said_last, "part", "corpus"}
    sql = "SELECT layer, hash FROM dictionary JOIN file ON file.id = file_id WHERE name = ? ORDER BY layer"
    weights = project.db.execute(sql, [params.dictionary]).fetchall()
    deciding = json.dumps([params.model_dump(exclude=left_out), [list(row) for row in weights]], sort_keys=True)
    return jobs.params_hash("index", deciding, project.model.revision)


def feature_card(project: Project, model: LanguageModel, name: str, dictionary: str | None = None) -> FeatureCard:
    """The card of an indexed feature such as `L12/345`, its contexts read again from the corpus that was indexed.

    Raises `BadInput` for a name that is none or a corpus that has changed since (with both hashes), `Missing` for a
    feature that is not indexed.
    """
    from store.features import find
    from tasks.corpora.tokens import ContextReader
    from tasks.indexing.indexed_text import indexed_text

    record = find(project.db, name, dictionary)
    if not record.examples:
        return FeatureCard(record, [])
    reader = ContextReader(model, indexed_text(project, record.dictionary, model).corpus)
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


def _context(model: LanguageModel, reader: ContextReader, example: Example) -> FeatureContext:
    """A card's context: the token with more around it."""
    found = reader.read_context(example.document, example.position, _TOKENS_BEFORE_IN_CARD, _TOKENS_AFTER_IN_CARD)
    texts = [model.token_text(token) for token in found.tokens]
    return FeatureContext(*example, texts[: found.at], texts[found.at], texts[found.at + 1 :])


def _forget_checkpoints(params: Params, project: Project) -> None:
    from tasks.training.checkpoints import Checkpoints

    Checkpoints.of(project, _key(params, project, with_source=True)).forget()


def _layer_document(layer: int, features: Sequence[DescribedFeature]) -> dict[str, Any]:
    densities = sorted(feature.density for feature in features)
    return {
        "layer": layer,
        "features": len(features),
        "silent": sum(density == 0 for density in densities),
        "median_density": densities[len(densities) // 2],
        "highest_density": densities[-1],
    }
