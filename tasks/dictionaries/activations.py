"""Where training rows come from: the shards of a capture (`StreamedActivations` is the other source).

The rows of a layer come in rounds, each small enough for the buffer; a round is shuffled and used for all epochs before
the next. A round can be made again from the seed alone, which is what lets a killed run go on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import BadInput
from store.project import Project
from tasks.corpora.tokens import Split
from tasks.dictionaries.shards import Shard, ShardRows, read_shard, shards_of

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

    @property
    def n_validation_rows(self) -> int:
        """Held-out rows a layer."""
        held_out = (
            shard.n_rows for shard in self.shards if (shard.layer, shard.split) == (self.layers[0], "validation")
        )
        return sum(held_out)

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
