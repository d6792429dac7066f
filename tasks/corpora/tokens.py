"""From a corpus to batches of windows of token ids, each window from one document.

A window starts with what the model needs to start with: the tokenizer's BOS, or for a model without one the token
before. That first slot is no data (it is the attention sink); every other token of a document is in exactly one window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Literal

import torch
import xxhash
from torch import Tensor

from store.errors import BadInput
from tasks.corpora import Corpus, Document

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from tasks.model.language_model import LanguageModel

Split = Literal["train", "validation"]
_POOL_WINDOWS = 512
"""How many windows are sorted by length before they are cut into batches: less padding, and order kept at large."""

_MOST_UNLIKE = 1.25
"""The longest window of a batch over its shortest, which bounds the share of padding."""


@dataclass(frozen=True)
class TokenBatch:
    """Windows of about the same length, padded on the right."""

    tokens: Int[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    """False where padding is."""
    documents: Int[Tensor, "batch pos"]
    """The document of each token; -1 where padding is."""
    positions: Int[Tensor, "batch pos"]
    """The token's position in its document, special tokens not counted; -1 at a BOS and at padding."""

    @property
    def n_tokens(self) -> int:
        """How many tokens are data: all but padding and the first of each window."""
        return int(self.mask[:, 1:].sum())

    def __len__(self) -> int:
        """How many windows."""
        return len(self.tokens)

    def __getitem__(self, rows: slice) -> TokenBatch:
        """Some of the windows, padded as they were."""
        return TokenBatch(self.tokens[rows], self.mask[rows], self.documents[rows], self.positions[rows])


@dataclass(frozen=True)
class _Window:
    document: int
    start: int
    """Document position of its first slot; -1 for a BOS."""
    tokens: list[int]


def token_batches(
    model: LanguageModel,
    corpus: Corpus,
    context_length: int,
    n_tokens: int,
    split: Split,
    seed: int,
    validation_share: float = 0.1,
    batch_tokens: int = 2048,
) -> Iterator[TokenBatch]:
    """Batches of one split with `n_tokens` tokens of data in all (the last window may be cut); fewer if the text ends.

    `context_length` counts the first slot. The documents of a split are those that the seed draws (`split_of`), in the
    corpus's order but for sorting by length within a stretch. A batch has at most `batch_tokens` slots.
    """
    if context_length < 2:
        raise BadInput("a window needs at least 2 tokens", "give a larger --context-length")
    windows = _limit(_windows(model, corpus, context_length, split, seed, validation_share), n_tokens)
    pad = model.tokenizer.pad_token_id or 0
    shuffle = Random(seed)
    pool: list[_Window] = []
    for window in windows:
        pool.append(window)
        if len(pool) == _POOL_WINDOWS:
            yield from _batches(pool, batch_tokens, pad, shuffle)
            pool = []
    yield from _batches(pool, batch_tokens, pad, shuffle)


def split_of(document: int, seed: int, validation_share: float = 0.1) -> Split:
    """The split of a document, by the hash of its number and the seed; whole documents, never parts of one."""
    drawn = xxhash.xxh3_64_intdigest(f"{seed}:{document}".encode()) / 2**64
    return "validation" if drawn < validation_share else "train"


@dataclass(frozen=True)
class TextContext:
    """A token amid its neighbours, re-read from the corpus."""

    tokens: list[int]
    at: int
    """Which of them is the token meant."""


@dataclass
class ContextReader:
    """Re-reads contexts of tokens that were seen before, by document and position."""

    model: LanguageModel
    corpus: Corpus
    _tokens: dict[int, list[int]] = field(default_factory=dict)

    def prefetch(self, documents: Iterable[int]) -> None:
        """Read these documents in one pass over the corpus; call it before many `read_context`s."""
        for index, text in self.corpus.read(set(documents) - self._tokens.keys()).items():
            self._tokens[index] = document_tokens(self.model, text)

    def read_context(self, document: int, position: int, before: int, after: int) -> TextContext:
        """The token at `position` of `document` with up to `before` and `after` neighbours of the same document."""
        self.prefetch([document])
        tokens = self._tokens[document]
        if not 0 <= position < len(tokens):
            raise BadInput(
                f"document {document} of {self.corpus.name} has no token {position}",
                "the corpus has changed since; capture and index again",
            )
        start = max(0, position - before)
        return TextContext(tokens[start : position + after + 1], position - start)


def document_tokens(model: LanguageModel, text: str) -> list[int]:
    """A document's token ids, without special tokens."""
    ids: list[int] = model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def prefix_tokens(model: LanguageModel) -> list[int]:
    """What the tokenizer puts before a text (a BOS), or nothing."""
    with_special: list[int] = model.tokenizer("a")["input_ids"]
    plain = document_tokens(model, "a")
    return with_special[: with_special.index(plain[0])] if plain else []


def _windows(
    model: LanguageModel, corpus: Corpus, context_length: int, split: Split, seed: int, validation_share: float
) -> Iterator[_Window]:
    prefix = prefix_tokens(model)
    for document in corpus.documents():
        if split_of(document.index, seed, validation_share) == split:
            yield from cut(document, document_tokens(model, document.text), prefix, context_length)


def cut(document: Document, tokens: list[int], prefix: list[int], context_length: int) -> Iterator[_Window]:
    """A document's windows. Each has one slot that is no data, so the next starts on the last token of this one.

    With a BOS that slot is the BOS, and windows do not overlap.
    """
    if prefix:
        bos = prefix[-1:]
        for start in range(0, len(tokens), context_length - 1):
            yield _Window(document.index, start - 1, bos + tokens[start : start + context_length - 1])
        return
    for start in range(0, max(1, len(tokens) - 1), context_length - 1):
        window = tokens[start : start + context_length]
        if len(window) > 1:
            yield _Window(document.index, start, window)


def _limit(windows: Iterator[_Window], n_tokens: int) -> Iterator[_Window]:
    """Windows until they hold `n_tokens` tokens of data; the last is cut to fit."""
    left = n_tokens
    for window in windows:
        if left <= 0:
            return
        yield _Window(window.document, window.start, window.tokens[: left + 1])
        left -= len(window.tokens) - 1


def _batches(pool: list[_Window], batch_tokens: int, pad: int, shuffle: Random) -> Iterator[TokenBatch]:
    groups: list[list[_Window]] = []
    for window in sorted(pool, key=lambda window: len(window.tokens)):
        length = len(window.tokens)
        full = groups and (len(groups[-1]) + 1) * length > batch_tokens
        if not groups or full or length > len(groups[-1][0].tokens) * _MOST_UNLIKE:
            groups.append([])
        groups[-1].append(window)
    shuffle.shuffle(groups)
    for group in groups:
        yield _batch(group, pad)


def _batch(windows: list[_Window], pad: int) -> TokenBatch:
    shape = (len(windows), max(len(window.tokens) for window in windows))
    tokens, positions = torch.full(shape, pad), torch.full(shape, -1)
    documents, mask = torch.full(shape, -1), torch.zeros(shape, dtype=torch.bool)
    for row, window in enumerate(windows):
        n = len(window.tokens)
        tokens[row, :n] = torch.tensor(window.tokens)
        mask[row, :n] = True
        documents[row, :n] = window.document
        positions[row, :n] = torch.arange(window.start, window.start + n)
    return TokenBatch(tokens, mask, documents, positions)
