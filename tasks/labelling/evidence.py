"""Where features are active, read from the model: around the strongest examples of the index, and in text at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from tasks.corpora import Document
from tasks.corpora.tokens import TokenBatch, cut, document_tokens, prefix_tokens
from tasks.dictionaries.corpus_text import CorpusText
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.neurons import Neurons
from tasks.dictionaries.protocol import Dictionary, Site
from tasks.labelling.passages import MARKED_ABOVE, Evidence, Passage, divided
from tasks.labelling.scoring import JudgeFailed
from tasks.model.hidden import Place, kept_positions, stream_hidden

if TYPE_CHECKING:
    from store.features import FeatureRecord

PASSAGE_TOKENS = 24
"""Tokens of a passage; of one around an example, 15 stand before it."""
_BEFORE = 15
_LEAST_SHOWN, _LEAST_HELD_OUT = 2, 2
_SAMPLE_MOST_ACTIVE = 40
_SAME_BEFORE, _SAME_AFTER = 4, 1
Window = tuple[int, int, list[int]]
"""Document, position of the first slot (-1: a BOS), token ids."""


@dataclass(frozen=True)
class _Stretch:
    """Tokens of the sample that stand beside each other: rows `first` to `last` of the values."""

    document: int
    tokens: tuple[str, ...]
    first: int
    last: int


class EvidenceReader:
    """Reads evidence of some features of one dictionary set; the random text is run through the model once for all."""

    def __init__(
        self,
        text: CorpusText,
        held: DictionarySet,
        records: Sequence[FeatureRecord],
        n_sample: int,
        seed: int,
        drawn: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        """Run about `n_sample` tokens of `text`, held-out documents first, and keep what the features do there.

        `drawn` are by a feature's name the places (document, position) that the index drew from all its activations.
        """
        self._text, self._held, self._seed = text, held, seed
        self._model = text.model
        self._prefix = prefix_tokens(self._model)
        self._drawn = drawn or {}
        wanted = {example.document for record in records for example in record.examples}
        wanted |= {document for places in self._drawn.values() for document, _ in places}
        found = text.corpus.read(wanted)
        self._documents = {index: document_tokens(self._model, words) for index, words in found.items()}
        self._token_texts: dict[int, str] = {}
        self._chosen = {
            layer: sorted({record.feature for record in records if record.layer == layer})
            for layer in sorted({record.layer for record in records})
        }
        self._floors = {layer: _floors(held[layer], layer, records, chosen) for layer, chosen in self._chosen.items()}
        self._at: Place = "mlp" if held[next(iter(self._chosen))].reads is Site.MLP_INPUT else "down"
        self._stretches: list[_Stretch] = []
        self._values = self._read_sample(n_sample)

    def read(self, record: FeatureRecord, n_shown: int, n_held_out: int) -> Evidence:
        """What is shown and what is held out of one feature; `JudgeFailed` if there is too little."""
        floor = float(self._floors[record.layer][self._chosen[record.layer].index(record.feature)])
        places = [(each.document, each.position) for each in record.examples if each.activation > floor]
        examples = [passage for passage in self._around(record, places) if passage.peak > 0]
        drawn = [passage for passage in self._around(record, self._drawn.get(record.name, ())) if passage.peak > 0]
        if 2 * len(examples) < len(places):
            fault = f"{record.name} is not active where its index says"
            raise JudgeFailed(fault, "the text or the dictionary has changed since; run `workbench index` again")
        sampled = self._sampled(record)
        draw = Random(f"{self._seed}:{record.name}")
        inactive = [passage for passage in sampled if passage.peak == 0]
        draw.shuffle(inactive)
        active = [passage for passage in sampled if passage.peak > 0]
        draw.shuffle(active)
        evidence = divided(
            _apart([*examples, *drawn, *active[:_SAMPLE_MOST_ACTIVE]]), inactive, n_shown, n_held_out
        )  # the strongest of the index, those it drew, and others as they come
        if len(evidence.shown) < _LEAST_SHOWN or len(evidence.active) < _LEAST_HELD_OUT:
            n = len(evidence.shown) + len(evidence.active)
            raise JudgeFailed(f"{record.name} has {n} examples, too few to hold some out", "index more tokens")
        if len(evidence.inactive) < _LEAST_HELD_OUT:
            raise JudgeFailed(f"{record.name} is active nearly everywhere", "raise --sample to find text without it")
        return evidence

    def _read_sample(self, n_sample: int) -> dict[int, NDArray[np.float32]]:
        """Layer -> values [rows, chosen features] of the sample, whose stretches are noted on the way."""
        parts: dict[int, list[NDArray[np.float32]]] = {layer: [] for layer in self._chosen}
        n_rows = 0
        for batch in _until(chain(self._text.validation_windows(n_sample), self._text.windows("train")), n_sample):
            for layer, values in self._run(batch).items():
                parts[layer].append(values)
            for document, tokens, _ in _windows_of(batch):
                for start in range(0, len(tokens), PASSAGE_TOKENS):
                    piece = tokens[start : start + PASSAGE_TOKENS]
                    first = n_rows + start
                    self._stretches.append(_Stretch(document, self._texts(piece), first, first + len(piece)))
                n_rows += len(tokens)
        return {layer: np.concatenate(found) for layer, found in parts.items() if found}

    def _sampled(self, record: FeatureRecord) -> list[Passage]:
        """Every stretch of the sample, with what the feature does there."""
        column = self._chosen[record.layer].index(record.feature)
        values = self._values[record.layer][:, column]
        return [
            Passage(each.document, each.tokens, tuple(values[each.first : each.last].tolist()))
            for each in self._stretches
            if each.last - each.first > PASSAGE_TOKENS // 3
        ]

    def _around(self, record: FeatureRecord, places: Sequence[tuple[int, int]]) -> list[Passage]:
        """The stretches around places of the index (document, position), run as the index ran them, in their order."""
        column = self._chosen[record.layer].index(record.feature)
        windows = [(window, at) for place, at in places if (window := self._window_of(place, at)) is not None]
        if not windows:
            return []
        batch = _batch([window for window, _ in windows], self._model.tokenizer.pad_token_id or 0)
        values = self._run(batch, [record.layer])[record.layer][:, column]
        found, first = [], 0
        for (document, tokens, positions), (_, at) in zip(_windows_of(batch), windows, strict=True):
            here = positions.index(at)
            near = slice(max(0, here - _BEFORE), here + PASSAGE_TOKENS - _BEFORE)
            own = values[first : first + len(tokens)][near]
            found.append(Passage(document, self._texts(tokens[near]), tuple(own.tolist())))
            first += len(tokens)
        return found

    def _window_of(self, document: int, position: int) -> Window | None:
        """The window that the index read this token in, as far as the passage goes; None if it is not there."""
        whole = Document(document, "")
        for window in cut(whole, self._documents[document], self._prefix, self._text.context_length):
            if window.start < position < window.start + len(window.tokens):
                return document, window.start, window.tokens[: position - window.start + PASSAGE_TOKENS - _BEFORE]
        return None

    def _run(self, batch: TokenBatch, layers: Sequence[int] | None = None) -> dict[int, NDArray[np.float32]]:
        """Layer -> values [rows, chosen features] of one batch."""
        chosen = list(self._chosen) if layers is None else list(layers)
        [rows] = stream_hidden(self._model, [batch], chosen, self._at)
        found = {}
        with torch.no_grad():
            for layer in chosen:
                held = self._held[layer]
                z = held.encode(rows.hidden[layer].to(held.write_bias.device))
                values = z[:, self._chosen[layer]].float().clamp_min(0).cpu()
                found[layer] = torch.where(values > self._floors[layer], values, 0).numpy()
        return found

    def _texts(self, tokens: Sequence[int]) -> tuple[str, ...]:
        for token in tokens:
            if token not in self._token_texts:
                self._token_texts[token] = self._model.token_text(token)
        return tuple(self._token_texts[token] for token in tokens)


def _floors(
    dictionary: Dictionary, layer: int, records: Sequence[FeatureRecord], features: Sequence[int]
) -> Float[Tensor, " some"]:
    """What each feature must exceed to count as active: a neuron, which is never silent, a share of its maximum."""
    share = MARKED_ABOVE if isinstance(dictionary, Neurons) else 0.0
    maxima = {record.feature: record.maximum for record in records if record.layer == layer}
    return torch.tensor([share * maxima[feature] for feature in features])


def _windows_of(batch: TokenBatch) -> Iterator[tuple[int, list[int], list[int]]]:
    """(document, tokens, positions) of each window: of the rows that it gives, in their order."""
    for tokens, kept, documents, positions in zip(
        batch.tokens, kept_positions(batch.mask), batch.documents, batch.positions, strict=True
    ):
        if kept.any():
            yield int(documents[kept][0]), tokens[kept].tolist(), positions[kept].tolist()


def _batch(windows: Sequence[Window], pad: int) -> TokenBatch:
    """Windows of any length, padded on the right."""
    shape = (len(windows), max(len(tokens) for _, _, tokens in windows))
    tokens, positions = torch.full(shape, pad), torch.full(shape, -1)
    documents, mask = torch.full(shape, -1), torch.zeros(shape, dtype=torch.bool)
    for row, (document, start, ids) in enumerate(windows):
        n = len(ids)
        tokens[row, :n], mask[row, :n], documents[row, :n] = torch.tensor(ids), True, document
        positions[row, :n] = torch.arange(start, start + n)
    return TokenBatch(tokens, mask, documents, positions)


def _until(batches: Iterable[TokenBatch], n_tokens: int) -> Iterator[TokenBatch]:
    """Batches until they hold so many tokens."""
    n = 0
    for batch in batches:
        if n >= n_tokens:
            return
        n += batch.n_tokens
        yield batch


def _apart(passages: Iterable[Passage]) -> list[Passage]:
    """Of passages with the same words around their peak, the first: text that is repeated is one example."""
    found: dict[tuple[str, ...], Passage] = {}
    for passage in passages:
        peak = max(range(len(passage.values)), key=lambda at: passage.values[at])
        found.setdefault(passage.tokens[max(0, peak - _SAME_BEFORE) : peak + _SAME_AFTER + 1], passage)
    return list(found.values())
