"""Where the rows of a pass come from, a capture's shards or the model: numbered pieces, some of which may be read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import xxhash

from store.errors import BadInput
from tasks.corpora.tokens import TokenBatch
from tasks.dictionaries.activations import CapturedActivations
from tasks.dictionaries.corpus_text import SPLITS, CorpusText, hash_in
from tasks.dictionaries.shards import ShardRows
from tasks.model.hidden import Place, stream_hidden
from tasks.model.language_model import LanguageModel

_SHARE = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True)
class Share:
    """Every `of`-th piece, from the `part`-th on (from 1)."""

    part: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """`2/4`; the whole if it is empty. `BadInput` if it is no share."""
        match = _SHARE.fullmatch(text.strip() or "1/1")
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise BadInput(f"--part {text!r} is no share of the work", "write 2/4 for the second of four parts")
        return cls(int(match[1]), int(match[2]))

    def takes(self, number: int) -> bool:
        """Whether the piece with that number is in it."""
        return number % self.of == self.part - 1


@dataclass(frozen=True)
class Piece:
    """Some rows, by layer."""

    number: int
    rows: dict[int, ShardRows]


@runtime_checkable
class Source(Protocol):
    """Rows in numbered pieces, the same ones each time."""

    @property
    def corpus_hash(self) -> str:
        """Of the text (`CorpusText.content_hash`), as far as `pieces` has got; of all of it once they are used up."""

    def pieces(self, share: Share, skip: int) -> Iterator[Piece]:
        """The pieces of a share whose number is not below `skip`."""

    def hash_before(self, number: int) -> str:
        """`corpus_hash` as it was when the piece before `number` was read."""


@dataclass
class StreamedSource:
    """A piece is a batch of windows. All of the text is read as tokens; the model runs on what is asked for."""

    model: LanguageModel
    text: CorpusText
    layers: Sequence[int]
    at: Place
    _digest: xxhash.xxh3_128 = field(default_factory=xxhash.xxh3_128)

    @property
    def corpus_hash(self) -> str:
        """Of the text so far."""
        return self._digest.hexdigest()

    def pieces(self, share: Share, skip: int) -> Iterator[Piece]:
        """One forward for all layers a batch."""
        self._digest = xxhash.xxh3_128()
        number = 0

        def asked_for() -> Iterator[TokenBatch]:
            nonlocal number
            for number, batch in enumerate(self._batches()):
                hash_in(self._digest, batch)
                if number >= skip and share.takes(number):
                    yield batch

        for rows in stream_hidden(self.model, asked_for(), self.layers, self.at):
            here = {layer: ShardRows(x, rows.documents, rows.positions) for layer, x in rows.hidden.items()}
            yield Piece(number, here)

    def hash_before(self, number: int) -> str:
        """Reads the beginning of the text again."""
        digest = xxhash.xxh3_128()
        for _, batch in zip(range(number), self._batches(), strict=False):
            hash_in(digest, batch)
        return digest.hexdigest()

    def _batches(self) -> Iterator[TokenBatch]:
        for split in SPLITS:
            yield from self.text.windows(split)


@dataclass
class CapturedSource:
    """A piece is a shard."""

    captured: CapturedActivations
    corpus_hash: str

    def pieces(self, share: Share, skip: int) -> Iterator[Piece]:
        """Layer by layer."""
        shards = [shard for shard in self.captured.shards if shard.layer in self.captured.layers]
        for number, shard in enumerate(sorted(shards, key=lambda shard: (shard.layer, SPLITS.index(shard.split)))):
            if number >= skip and share.takes(number):
                [rows] = replace(self.captured, shards=[shard]).pieces(shard.layer, shard.split)
                yield Piece(number, {shard.layer: rows})

    def hash_before(self, number: int) -> str:
        """That of the capture: it does not change."""
        return self.corpus_hash


def open_capture(captured: CapturedActivations, text: CorpusText) -> CapturedSource:
    """The shards of a capture, whose text must still be there to read contexts from: `BadInput` names both hashes."""
    sql = "SELECT corpus_hash FROM capture WHERE id = ?"
    [(expected,)] = captured.project.db.execute(sql, [captured.capture_id]).fetchall()
    refuse_changed(text.spec, text.content_hash(), expected, f"capture {captured.capture_id} was made")
    return CapturedSource(captured, expected)


def refuse_changed(spec: str, found: str, expected: str, since: str) -> None:
    """`BadInput` if a text is another one than it was."""
    if found != expected:
        raise BadInput(
            f"the corpus {spec} has changed since {since}: its hash is {found}, it was {expected}",
            "bring the text back as it was, or capture and index again",
        )
