"""Where training rows come from: the shards of a capture, or the model itself through a buffer bounded in bytes.

Either way the rows of a layer come in rounds, each small enough for the buffer; a round is shuffled and used for all
epochs before the next. A round can be made again from the seed alone, which is what lets a killed run go on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import BadInput
from store.project import Project
from tasks.corpora.tokens import Split
from tasks.dictionaries.corpus_text import CorpusText
from tasks.dictionaries.shards import Shard, ShardRows, read_shard, shards_of
from tasks.model.hidden import n_kept, stream_hidden
from tasks.model.language_model import LanguageModel

WHOLE = 1 << 62
"""A buffer that holds everything."""
VALIDATION_ROWS = 8192
"""At most so many rows judge a layer at the end of training."""


@runtime_checkable
class Activations(Protocol):
    """h of some layers, for training: rows of whole documents, split into train and validation by document."""

    @property
    def layers(self) -> list[int]:
        """The layers, in the order they are trained."""

    @property
    def n_rounds(self) -> int:
        """So many times each layer is given rows."""

    @property
    def n_rows(self) -> int:
        """Training rows a layer, over all rounds."""

    @property
    def layer_by_layer(self) -> bool:
        """Whether a layer's rounds are best used up before the next layer (else a round's layers share one forward)."""

    def rows(self, round_: int, layer: int) -> Float[Tensor, "rows m"]:
        """The training rows of one round."""

    def validation(self, layer: int) -> Float[Tensor, "rows m"]:
        """Rows of documents that training never sees."""


@dataclass
class CapturedActivations:
    """The shards of a capture, read in place; every shard is checked against its row's hash before its first use."""

    project: Project
    capture_id: int
    layers: list[int]
    shards: list[Shard]
    n_rounds: int
    n_rows: int
    layer_by_layer: bool = True
    _verified: set[str] = field(default_factory=set)

    @classmethod
    def open(
        cls, project: Project, capture_id: int, layers: Sequence[int], buffer_bytes: int = WHOLE
    ) -> "CapturedActivations":
        """The capture of that id, whose layers must include `layers` (empty: all of them)."""
        shards = shards_of(project, capture_id)
        captured = sorted({shard.layer for shard in shards})
        absent = sorted(set(layers) - set(captured))
        if absent:
            raise BadInput(f"capture {capture_id} has no layer {absent[0]}", f"its layers are {captured}")
        chosen = list(layers) or captured
        train = [shard.n_rows for shard in shards if shard.split == "train" and shard.layer == chosen[0]]
        n_bytes = sum(train) * project.model.d_mlp * 4
        return cls(project, capture_id, chosen, shards, max(1, ceil(n_bytes / buffer_bytes)), sum(train))

    def rows(self, round_: int, layer: int) -> Float[Tensor, "rows m"]:
        """The same stretch of every shard, so that a round has something of all the corpus."""
        return torch.cat([piece.h for piece in self._pieces(layer, "train", round_)])

    def validation(self, layer: int) -> Float[Tensor, "rows m"]:
        """At most `VALIDATION_ROWS`, evenly spread."""
        rows = torch.cat([piece.h for piece in self._pieces(layer, "validation", None)])
        return rows[:: max(1, ceil(len(rows) / VALIDATION_ROWS))]

    def pieces(self, layer: int, split: Split) -> Iterator[ShardRows]:
        """Every row of a layer, a shard at a time, with its place in the corpus."""
        return self._pieces(layer, split, None)

    def _pieces(self, layer: int, split: Split, round_: int | None) -> Iterator[ShardRows]:
        for shard in self.shards:
            if (shard.layer, shard.split) != (layer, split):
                continue
            if shard.stored.path not in self._verified:
                self.project.files.verify(shard.stored)
                self._verified.add(shard.stored.path)
            first, last = 0, shard.n_rows
            if round_ is not None:
                first, last = (shard.n_rows * edge // self.n_rounds for edge in (round_, round_ + 1))
            yield read_shard(self.project, shard, first, last)


@dataclass
class StreamedActivations:
    """h straight from the model: a round is as many tokens as the buffer (on the host) holds for all layers."""

    model: LanguageModel
    text: CorpusText
    layers: list[int]
    n_rows: int
    rows_a_round: int
    advance: Callable[[float], None]
    """Hears of the rows that the model gave, and may stop the work."""
    layer_by_layer: bool = False
    _rounds: Iterator[dict[int, Tensor]] | None = None
    _current: tuple[int, dict[int, Tensor]] = (-1, {})
    _validation: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        model: LanguageModel,
        text: CorpusText,
        layers: Sequence[int],
        buffer_bytes: int,
        advance: Callable[[float], None] = lambda _rows: None,
    ) -> "StreamedActivations":
        """Read the text of `text` once, as tokens, to know how many rows it will give."""
        row_bytes = len(layers) * model.d_mlp * model.dtype.itemsize
        return cls(model, text, list(layers), text.n_rows("train"), max(1, buffer_bytes // row_bytes), advance)

    @property
    def n_rounds(self) -> int:
        """Rounds of the whole run."""
        return ceil(self.n_rows / self.rows_a_round)

    def rows(self, round_: int, layer: int) -> Float[Tensor, "rows m"]:
        """The round's tokens in that layer. The rounds are asked for in order, starting anywhere."""
        held, buffer = self._current
        if held != round_:
            self._current = (-1, {})
            buffer.clear()
            if self._rounds is None or held + 1 != round_:
                self._rounds = self._from_round(round_)
            self._current = (round_, next(self._rounds))
        return self._current[1][layer]

    def validation(self, layer: int) -> Float[Tensor, "rows m"]:
        """At most `VALIDATION_ROWS`, the first there are."""
        if not self._validation:
            pieces: list[dict[int, Tensor]] = []
            n_rows = 0
            for rows in stream_hidden(self.model, self.text.windows("validation"), self.layers):
                pieces.append({each: h.cpu() for each, h in rows.hidden.items()})
                n_rows += rows.n_rows
                if n_rows >= VALIDATION_ROWS:
                    break
            self._validation = {each: torch.cat([piece[each] for piece in pieces]) for each in self.layers}
        return self._validation[layer]

    def _from_round(self, first: int) -> Iterator[dict[int, Tensor]]:
        """The rounds from `first` on; what comes before is read as tokens and never run."""
        skipped = first * self.rows_a_round
        held: dict[int, list[Tensor]] = {layer: [] for layer in self.layers}
        n_held, at = 0, 0
        for batch in self.text.windows("train"):
            start, at = at, at + n_kept(batch.mask)
            if at <= skipped:
                continue
            (rows,) = stream_hidden(self.model, [batch], self.layers)
            for layer in self.layers:
                held[layer].append(rows.hidden[layer][max(0, skipped - start) :].cpu())
            n_held += at - max(start, skipped)
            self.advance(rows.n_rows)
            while n_held >= self.rows_a_round:
                joined = {layer: torch.cat(pieces) for layer, pieces in held.items()}
                held = {layer: [rows_[self.rows_a_round :].clone()] for layer, rows_ in joined.items()}
                n_held -= self.rows_a_round
                yield {layer: joined.pop(layer)[: self.rows_a_round] for layer in self.layers}
        if n_held:
            yield {layer: torch.cat(pieces) for layer, pieces in held.items()}
