"""From the state of a pass to rows: promoted tokens, the words of examples, neighbours."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import torch
from jaxtyping import Float, Int
from torch import Tensor

from store.contexts import TOKENS_BEFORE, Context, pack_contexts
from store.feature_details import pack_neighbours
from store.search import Example, encodable, pack_examples
from tasks.corpora import Corpus
from tasks.dictionaries.logit_lens import TokenWeights, token_weights
from tasks.dictionaries.neurons import Neurons
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.transcoder import Transcoder
from tasks.indexing.decoder_neighbours import nearest_by_decoder
from tasks.indexing.kept_examples import KeptExamples, Measure
from tasks.indexing.layer_pass import LayerPass
from tasks.indexing.places import NOWHERE, unpacked
from tasks.indexing.texts import OUTSIDE, token_windows
from tasks.model.language_model import LanguageModel

_EXAMPLES_IN_SEARCH = 5
_WORDS_IN_SEARCH = slice(TOKENS_BEFORE - 4, TOKENS_BEFORE + 2)
_WINDOWS_AT_ONCE = 1 << 22
"""Windows of text held at once: 285 MB of token ids."""
_FEATURES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class DescribedFeature:
    """The rows of one feature, as they are stored: JSON as text, lists as blobs."""

    density: float
    maximum: float
    mean: float
    histogram: str
    promoted: str
    suppressed: str
    fires_on: str
    search_words: str
    """The words around its strongest examples."""
    promoted_words: str
    examples: bytes
    contexts: bytes
    moments: tuple[float, float, float]
    """Standard deviation, skewness, kurtosis."""
    sampled: bytes
    lowest: bytes | None
    by_decoder: bytes
    by_coactivation: bytes


@dataclass(frozen=True)
class DescribedLayer:
    """Every feature of one layer."""

    kind: str
    features: list[DescribedFeature]


@dataclass
class TokenTexts:
    """Texts of tokens, each decoded once."""

    model: LanguageModel
    known: dict[int, str] = field(default_factory=dict)

    def __getitem__(self, token: int) -> str:
        self.need(token)
        return self.known[token]

    def need(self, token: int) -> None:
        """Decode the token unless that was done, or it is none."""
        if token not in self.known and token != OUTSIDE:
            self.known[token] = self.model.token_text(token)


def described(
    model: LanguageModel,
    layers: Mapping[int, tuple[Dictionary, LayerPass]],
    corpus: Corpus,
    texts: TokenTexts,
    n_promoted: int,
    n_neighbours: int,
) -> Iterator[tuple[int, DescribedLayer]]:
    """(layer, its features) for every layer; the corpus is read as few times as windows are held at once."""
    for group in _grouped(layers):
        windows = _windows(model, corpus, [layers[layer][1] for layer in group])
        for layer in group:
            dictionary, state = layers[layer]
            weights = token_weights(model, dictionary, n_promoted)
            near = _near(model, dictionary, state, n_neighbours)
            of_layer = [windows.pop(0) if kept is not None else None for kept in _kept(state)]
            words = _Words(model, texts, of_layer)
            yield layer, DescribedLayer(_kind(dictionary), list(_features(state, weights, near, words, texts)))


def _grouped(layers: Mapping[int, tuple[Dictionary, LayerPass]]) -> list[list[int]]:
    """Layers whose windows are few enough to be read together."""
    groups: list[list[int]] = []
    left = 0
    for layer, (_, state) in layers.items():
        n_windows = sum(kept.windows.shape[:2].numel() for kept in _kept(state) if kept is not None)
        if not groups or n_windows > left:
            groups.append([])
            left = _WINDOWS_AT_ONCE
        groups[-1].append(layer)
        left -= n_windows
    return groups


def _kept(state: LayerPass) -> tuple[KeptExamples, KeptExamples, KeptExamples | None]:
    return state.strongest, state.sampled, state.lowest


def _windows(model: LanguageModel, corpus: Corpus, states: Sequence[LayerPass]) -> list[Tensor]:
    """Tokens around the examples that keep activations, for every `KeptExamples` of the states in order."""
    kept = [each for state in states for each in _kept(state) if each is not None]
    places = [each.places[:, : each.windows.shape[1]].cpu() for each in kept]
    found = token_windows(model, corpus, torch.cat([each.reshape(-1) for each in places]))
    parts = found.split([each.numel() for each in places])
    return [part.view(*each.shape, -1) for part, each in zip(parts, places, strict=True)]


def _kind(dictionary: Dictionary) -> str:
    """The kind as table `dictionary` has it."""
    return {Neurons: "neurons", Transcoder: "transcoder"}.get(type(dictionary), "sae")


def _near(model: LanguageModel, dictionary: Dictionary, state: LayerPass, n: int) -> tuple[list[bytes], list[bytes]]:
    """Neighbours by decoder and by co-activation, packed."""
    if not n:
        return [b""] * state.n_features, [b""] * state.n_features
    return _packed(*nearest_by_decoder(model, dictionary, n)), _packed(*state.tokens.nearest(state.n_features, n))


def _packed(features: Int[Tensor, "n_features n"], likeness: Float[Tensor, "n_features n"]) -> list[bytes]:
    rows = zip(features.tolist(), likeness.tolist(), strict=True)
    return [pack_neighbours([pair for pair in zip(*row, strict=True) if pair[0] >= 0]) for row in rows]


@dataclass
class _Words:
    """The texts around the examples of one layer."""

    model: LanguageModel
    texts: TokenTexts
    windows: list[Tensor | None]
    """[n_features, slots, window] for each of the layer's `KeptExamples`, whose slots differ in number."""

    def around(self, feature: int) -> tuple[list[str], str]:
        """(the tokens at the strongest examples, each once; the words around them)."""
        assert self.windows[0] is not None
        rows = [row for row in self.windows[0][feature, :_EXAMPLES_IN_SEARCH].tolist() if row[TOKENS_BEFORE] != OUTSIDE]
        at = [self.texts[row[TOKENS_BEFORE]] for row in rows]
        around = [[token for token in row[_WORDS_IN_SEARCH] if token != OUTSIDE] for row in rows]
        return list(dict.fromkeys(at)), "\n".join(str(self.model.tokenizer.decode(tokens)) for tokens in around)

    def contexts(self, which: int, kept: KeptExamples, sign: float = 1.0) -> Iterator[bytes]:
        """Of every feature: its examples with their words, packed; those kept by draw are put in order of strength."""
        tokens = self.windows[which]
        assert tokens is not None
        n = tokens.shape[1]
        for first in range(0, len(tokens), _FEATURES_AT_ONCE):
            part = slice(first, first + _FEATURES_AT_ONCE)
            places, values = kept.places[part, :n].cpu(), kept.values[part, :n].cpu()
            around, ids = kept.windows[part].cpu().float(), tokens[part]
            if kept.measure is Measure.SAMPLED:
                order = torch.where(places == NOWHERE, -torch.inf, values).argsort(1, descending=True)
                rows = torch.arange(len(order))[:, None]
                places, values, around, ids = (each[rows, order] for each in (places, values, around, ids))
            for token in ids.unique().tolist():
                self.texts.need(token)
            columns = (*unpacked(places), sign * values, ids, sign * around)
            for feature in zip(*(each.tolist() for each in columns), strict=True):
                yield pack_contexts([found for each in zip(*feature, strict=True) if (found := self._context(*each))])

    def _context(
        self, document: int, position: int, value: float, ids: list[int], around: list[float]
    ) -> Context | None:
        """One example with the part of its window that is text; None of an empty slot."""
        if ids[TOKENS_BEFORE] == OUTSIDE:
            return None
        if OUTSIDE not in ids:
            return Context(document, position, value, tuple(ids), tuple(around), TOKENS_BEFORE)
        first = next(slot for slot, token in enumerate(ids) if token != OUTSIDE)
        tokens = tuple(token for token in ids if token != OUTSIDE)
        values = tuple(around[first : first + len(tokens)])
        return Context(document, position, value, tokens, values, TOKENS_BEFORE - first)


def _features(
    state: LayerPass, weights: TokenWeights, near: tuple[list[bytes], list[bytes]], words: _Words, texts: TokenTexts
) -> Iterator[DescribedFeature]:
    contexts = words.contexts(0, state.strongest)
    sampled = words.contexts(1, state.sampled)
    lowest = repeat(None) if state.lowest is None else words.contexts(2, state.lowest, -1.0)
    above = state.totals.histogram.sum(1).tolist()
    histograms = state.totals.histogram.tolist()
    moments = state.totals.moments().tolist()
    examples = _examples(state.strongest)
    for feature in range(state.n_features):
        fires_on, around = words.around(feature)
        promoted = _ranked(texts, weights.promoted[feature], weights.promoted_logits[feature])
        suppressed = _ranked(texts, weights.suppressed[feature], weights.suppressed_logits[feature])
        mean, *others = moments[feature]
        yield DescribedFeature(
            density=above[feature] / max(1, state.n_tokens),
            maximum=examples[feature][0].activation if examples[feature] else 0.0,
            mean=mean,
            histogram=json.dumps(histograms[feature]),
            promoted=json.dumps(promoted),
            suppressed=json.dumps(suppressed),
            fires_on=json.dumps(fires_on),
            search_words=encodable(around),
            promoted_words=encodable(" ".join(token for token, _ in promoted)),
            examples=pack_examples(examples[feature]),
            contexts=next(contexts),
            moments=(others[0], others[1], others[2]),
            sampled=next(sampled),
            lowest=next(lowest),
            by_decoder=near[0][feature],
            by_coactivation=near[1][feature],
        )


def _examples(kept: KeptExamples) -> list[list[Example]]:
    """The places and activations of every feature's strongest examples."""
    documents, positions = (each.tolist() for each in unpacked(kept.places))
    found = zip(documents, positions, kept.values.tolist(), strict=True)
    return [[Example(*each) for each in zip(*rows, strict=True) if each[2] > 0] for rows in found]


def _ranked(texts: TokenTexts, tokens: Tensor, logits: Tensor) -> list[tuple[str, float]]:
    """Token texts with their logits."""
    return [(texts[token], logit) for token, logit in zip(tokens.tolist(), logits.tolist(), strict=True)]
