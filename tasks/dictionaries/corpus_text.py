"""The text that SAEs are trained on, judged by and described with: a corpus, cut into windows, split by document."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import get_args

import xxhash

from store.errors import BadInput
from tasks.corpora import Corpus, open_corpus
from tasks.corpora.tokens import Split, TokenBatch, token_batches
from tasks.model.hidden import n_kept
from tasks.model.language_model import LanguageModel

SPLITS: tuple[Split, ...] = get_args(Split)
"""Train first."""
_MIXED_BATCHES = 1024
"""Batches of windows held as tokens while their order is drawn."""


@dataclass(frozen=True)
class Census:
    """What one pass over a text finds."""

    rows: dict[Split, int]
    """Rows of SAE data that each split gives."""
    content_hash: str
    """xxh3-128 (hex) of the token ids, documents and positions of both splits."""


@dataclass(frozen=True)
class CorpusText:
    """So many tokens of a corpus for one model: the same windows whenever it is read."""

    model: LanguageModel
    spec: str
    context_length: int
    n_tokens: int
    validation_share: float
    seed: int

    @property
    def corpus(self) -> Corpus:
        """The corpus itself, to read contexts from again."""
        return open_corpus(self.spec)

    def windows(self, split: Split) -> Iterator[TokenBatch]:
        """The windows of one split: its share of the tokens."""
        share = self.validation_share if split == "validation" else 1.0 - self.validation_share
        return self._windows(split, max(1, round(self.n_tokens * share)))

    def mixed_windows(self, split: Split) -> Iterator[TokenBatch]:
        """The same batches in an order that mixes the corpus: a stretch of two million tokens or so at a time."""
        draw, stretch = Random(self.seed), list[TokenBatch]()
        for batch in self.windows(split):
            stretch.append(batch)
            if len(stretch) == _MIXED_BATCHES:
                draw.shuffle(stretch)
                yield from stretch
                stretch = []
        draw.shuffle(stretch)
        yield from stretch

    def validation_windows(self, n_tokens: int) -> Iterator[TokenBatch]:
        """Windows of held-out documents, about `n_tokens` in all."""
        return self._windows("validation", n_tokens)

    def require(self, *splits: Split) -> None:
        """Refuse a corpus that has no document in one of these splits."""
        for split in splits:
            if next(self.windows(split), None) is None:
                kind = {"train": "training", "validation": "held-out"}[split]
                raise BadInput(
                    f"the corpus {self.spec} gives no {kind} document",
                    "give one with more documents, or another --validation-share or --seed",
                )

    def n_rows(self, split: Split) -> int:
        """The rows of SAE data that a split gives: reads its text, runs nothing."""
        return sum(n_kept(batch.mask) for batch in self.windows(split))

    def content_hash(self) -> str:
        """xxh3-128 (hex) of the token ids, documents and positions of both splits."""
        return self.census().content_hash

    def census(self) -> Census:
        """The rows and the hash of both splits: reads the text, runs nothing."""
        digest = xxhash.xxh3_128()
        rows = dict.fromkeys(SPLITS, 0)
        for split in SPLITS:
            for batch in self.windows(split):
                rows[split] += n_kept(batch.mask)
                hash_in(digest, batch)
        return Census(rows, digest.hexdigest())

    def _windows(self, split: Split, n_tokens: int) -> Iterator[TokenBatch]:
        return token_batches(
            self.model,
            self.corpus,
            context_length=self.context_length,
            n_tokens=n_tokens,
            split=split,
            validation_share=self.validation_share,
            seed=self.seed,
        )


def hash_in(digest: xxhash.xxh3_128, batch: TokenBatch) -> None:
    """Take a batch into a running `content_hash`."""
    for tensor in (batch.tokens, batch.documents, batch.positions):
        digest.update(tensor[batch.mask].numpy().tobytes())
