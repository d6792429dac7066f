"""h straight from the model: one forward for all layers, through a buffer on the host that is bounded in bytes.

The windows are read in an order that mixes the corpus, so that each buffer-full is a sample of all of it. Nothing of a
round is needed to make the next, and any round can be made again from the seed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.dictionaries.corpus_text import CorpusText
from tasks.model.hidden import n_kept, stream_hidden
from tasks.model.language_model import LanguageModel

VALIDATION_ROWS = 8192
"""At most so many rows judge a layer at the end of training, and at most a part of the buffer's bytes."""
_VALIDATION_PART = 8
_FEWEST_VALIDATION_ROWS = 512


@dataclass(frozen=True)
class BufferShape:
    """How many rows of each layer are held at once."""

    rows: int
    validation_rows: int

    @classmethod
    def of(cls, model: LanguageModel, n_layers: int, buffer_bytes: int) -> "BufferShape":
        """For so many layers: it does not depend on how they are grouped, so that grouping changes no result."""
        rows = max(1, buffer_bytes // (n_layers * model.d_mlp * model.dtype.itemsize))
        return cls(rows, min(VALIDATION_ROWS, max(_FEWEST_VALIDATION_ROWS, rows // _VALIDATION_PART)))


@dataclass
class StreamedActivations:
    """The rows of some layers: a round is a buffer-full."""

    model: LanguageModel
    text: CorpusText
    layers: list[int]
    shape: BufferShape
    n_rows: int
    advance: Callable[[float], None]
    """Hears of the rows that the model gave, and may stop the work."""
    layer_by_layer: bool = False
    _rounds: Iterator[int] | None = None
    _held: int = -1
    """The round in the buffer."""
    _buffer: dict[int, Tensor] = field(default_factory=dict)
    _filled: int = 0
    _validation: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        model: LanguageModel,
        text: CorpusText,
        layers: Sequence[int],
        shape: BufferShape,
        advance: Callable[[float], None] = lambda _rows: None,
    ) -> "StreamedActivations":
        """Read the text of `text` once, as tokens, to know how many rows it will give."""
        return cls(model, text, list(layers), shape, text.n_rows("train"), advance)

    @property
    def n_rounds(self) -> int:
        """Rounds of the whole run."""
        return ceil(self.n_rows / self.shape.rows)

    def rows(self, round_: int, layer: int) -> Float[Tensor, "rows m"]:
        """The round's tokens in that layer, valid until another round is asked for. Rounds are asked for in order,
        starting anywhere."""
        if self._held != round_:
            if self._rounds is None or self._held + 1 != round_:
                self._rounds = self._from_round(round_)
            self._filled = next(self._rounds)
            self._held = round_
        return self._buffer[layer][: self._filled]

    def validation(self, layer: int) -> Float[Tensor, "rows m"]:
        """The first there are, at most `shape.validation_rows`."""
        if not self._validation:
            pieces: list[dict[int, Tensor]] = []
            n_rows = 0
            for rows in stream_hidden(self.model, self.text.windows("validation"), self.layers):
                pieces.append({each: h.cpu() for each, h in rows.hidden.items()})
                n_rows += rows.n_rows
                if n_rows >= self.shape.validation_rows:
                    break
            most = self.shape.validation_rows
            self._validation = {each: torch.cat([piece[each] for piece in pieces])[:most] for each in self.layers}
        return self._validation[layer]

    def _from_round(self, first: int) -> Iterator[int]:
        """Fill the buffer with one round after another and give its rows; what comes before is read as tokens alone."""
        skipped, at = first * self.shape.rows, 0
        filled = 0
        for batch in self.text.mixed_windows("train"):
            start, at = at, at + n_kept(batch.mask)
            if at <= skipped:
                continue
            (rows,) = stream_hidden(self.model, [batch], self.layers)
            self.advance(rows.n_rows)
            used = max(0, skipped - start)
            while used < rows.n_rows:
                n = min(rows.n_rows - used, self.shape.rows - filled)
                for layer in self.layers:
                    self._space(layer)[filled : filled + n] = rows.hidden[layer][used : used + n]
                filled, used = filled + n, used + n
                if filled == self.shape.rows:
                    yield filled
                    filled = 0
        if filled:
            yield filled

    def _space(self, layer: int) -> Tensor:
        """The buffer of a layer; for a GPU it is pinned, so that batches are copied while the step before runs."""
        if layer not in self._buffer:
            n = min(self.shape.rows, self.n_rows)
            pinned = self.model.device.type == "cuda"
            self._buffer[layer] = torch.empty(n, self.model.d_mlp, dtype=self.model.dtype, pin_memory=pinned)
        return self._buffer[layer]
