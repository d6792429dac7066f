"""The encoder's product and the choice of pairs from it, without ever holding [rows, features] (METHOD §6).

The product is made for some hundred rows at a time into one buffer. Of each row only the groups of features whose
largest score is high enough are looked at. Where the machine multiplies bfloat16 far faster than float32, the buffer
holds bfloat16 scores that say which features *may* be chosen, and only those are scored in float32: what is chosen,
and every score, is that of float32.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.training.pairs import Pairs, dots, pairs_of

BUFFER_ENTRIES = 1 << 22
"""Scores held at once."""
_GROUP = 16
"""Features looked at together."""
_UNIT = 2.0**-9
"""Largest relative error of rounding to bfloat16."""
_SIGMAS = 4.0
"""Rounding errors add up at random: one score in 10^7 of the worst placed is further off, and that is watched."""


@dataclass(frozen=True)
class Scored:
    """Pairs and their scores x·w + b."""

    pairs: Pairs
    scores: Float[Tensor, " pairs"]


@dataclass
class Encoder:
    """scores = x W_encᵀ + b, of rows and features that are worth it."""

    w_enc: Float[Tensor, "n_features m"]
    screened: bool
    """Whether candidates are found in bfloat16 and scored in float32."""
    rounded: bool = False
    """Whether bfloat16 scores are good enough as they are (bf16 autocast)."""
    _buffers: dict[str, Tensor] = field(default_factory=dict)

    def largest(self, x: Float[Tensor, "rows m"], bias: Float[Tensor, " n_features"], k: int) -> Scored:
        """The k largest scores of each row."""
        found = [
            _keep_largest(stretch.sound(lambda each: each.kth_largest(k)), k) for stretch in self._stretches(x, bias)
        ]
        return _joined(found, len(x), len(bias))

    def above(self, x: Float[Tensor, "rows m"], bias: Float[Tensor, " n_features"], floor: float) -> Scored:
        """Every score ≥ `floor`."""
        found = []
        for stretch in self._stretches(x, bias):
            rows, features, scores = stretch.sound(lambda each: torch.full_like(each.error, floor))
            high = scores >= floor
            found.append((rows[high], features[high], scores[high]))
        return _joined(found, len(x), len(bias))

    def release(self) -> None:
        """Let go of the buffers until the next product."""
        self._buffers.clear()

    def _stretches(self, x: Tensor, bias: Tensor) -> "Iterator[_Stretch]":
        """The batch, some rows at a time, each with its scores in the buffer."""
        bfloat16 = self.screened or self.rounded
        w, b, y = self.w_enc, bias, x
        spread = x.new_zeros(len(x))
        if bfloat16:
            w = self._buffer("w", self.w_enc.shape, torch.bfloat16).copy_(self.w_enc)
            b, y = bias.bfloat16(), x.bfloat16()
        if self.screened:
            largest = torch.maximum(self.w_enc.amax(0), -self.w_enc.amin(0))
            spread = _SIGMAS * math.sqrt(2) * _UNIT * (x.square() @ largest.square()).sqrt_()
            spread += 2 * _UNIT * float(bias.abs().max())
        step = max(1, BUFFER_ENTRIES // len(bias))
        scores = self._buffer("scores", (min(step, len(x)), len(bias)), w.dtype)
        for first in range(0, len(x), step):
            last = min(first + step, len(x))
            held = torch.addmm(b, y[first:last], w.T, out=scores[: last - first])
            yield _Stretch(self, x, bias, held, spread[first:last], first)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory that is used again and again."""
        held = self._buffers.get(name)
        if held is None or held.shape != shape or held.dtype != dtype:
            held = self._buffers[name] = torch.empty(shape, dtype=dtype, device=self.w_enc.device)
        return held


Found = tuple[Tensor, Tensor, Tensor]
"""Rows (rising), features and scores of as many pairs."""


@dataclass(frozen=True)
class _Stretch:
    """Some rows of a batch, and what the buffer says of them."""

    encoder: Encoder
    x: Float[Tensor, "rows m"]
    """Of the whole batch."""
    bias: Float[Tensor, " n_features"]
    held: Float[Tensor, "some_rows n_features"]
    error: Float[Tensor, " some_rows"]
    """How far a score of each row may be from float32's."""
    first: int

    @cached_property
    def _maxima(self) -> Float[Tensor, "some_rows n_groups"]:
        """Of each group: features i, i + n_groups, i + 2 n_groups, … are one."""
        return self.held.view(len(self.held), math.gcd(self.held.shape[1], _GROUP), -1).amax(1)

    def kth_largest(self, k: int) -> Float[Tensor, " some_rows"]:
        """At most the k-th largest score of each row: k groups have one as large as this, by float32's scores."""
        maxima = self._maxima if self._maxima.shape[1] >= k else self.held
        floor = maxima.topk(k, dim=1, sorted=False).values.amin(1).to(self.x.dtype)
        return floor - self._slack(floor)

    def sound(self, floor_of: Callable[["_Stretch"], Tensor]) -> Found:
        """Every pair whose float32 score may be ≥ its row's floor, with that score."""
        found = self._candidates(floor_of(self))
        if found is None:
            found = self._in_float32()._candidates(floor_of(self._in_float32()))
        assert found is not None
        return found

    def _in_float32(self) -> "_Stretch":
        """The same rows, without a screen."""
        plain = Encoder(self.encoder.w_enc, screened=False)
        scores = torch.addmm(self.bias, self._rows, self.encoder.w_enc.T)
        return _Stretch(plain, self.x, self.bias, scores, torch.zeros_like(self.error), self.first)

    @property
    def _rows(self) -> Float[Tensor, "some_rows m"]:
        return self.x[self.first : self.first + len(self.held)]

    def _candidates(self, floor: Float[Tensor, " some_rows"]) -> Found | None:
        """As `sound`; None where a score in the buffer turns out to be further off than was thought possible."""
        edge = floor - self._slack(floor)
        n_features, n_groups = self.held.shape[1], self._maxima.shape[1]
        rows, group = (self._maxima >= edge[:, None]).nonzero(as_tuple=True)
        members = torch.arange(0, n_features, n_groups, device=rows.device)
        scores = self.held.view(-1)[(rows * n_features + group)[:, None] + members]
        which, member = (scores >= edge[rows][:, None]).nonzero(as_tuple=True)
        rows, features = rows[which], group[which] + members[member]
        near = scores[which, member].to(self.x.dtype)
        if not self.encoder.screened:
            return rows + self.first, features, near
        pairs = pairs_of(rows, features, len(self.held), n_features)
        exact = dots(pairs, self._rows, self.encoder.w_enc) + self.bias[features]
        if bool(((exact - near).abs() > self.error[rows] + 2 * _UNIT * exact.abs()).any()):
            return None
        return rows + self.first, features, exact

    def _slack(self, floor: Tensor) -> Tensor:
        """What a score in the buffer may lack of float32's: products rounded, then the sum, then the comparison."""
        if not self.encoder.screened:
            return torch.zeros_like(floor)
        return self.error + 4 * _UNIT * floor.abs()


def _keep_largest(found: Found, k: int) -> Found:
    """Of candidates, the k largest of each row; each row has k or more."""
    rows, features, scores = found
    first = int(rows[0])
    counts = torch.bincount(rows - first)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(rows), device=rows.device) - starts[rows - first]
    table = scores.new_full((len(counts), int(counts.max())), -torch.inf)
    table[rows - first, place] = scores
    largest, at = table.topk(k, dim=1, sorted=False)
    chosen = (starts[:, None] + at).view(-1)
    return rows[chosen], features[chosen], largest.view(-1)


def _joined(found: list[Found], n_rows: int, n_features: int) -> Scored:
    """The stretches' pairs as one."""
    rows, features, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Scored(pairs_of(rows, features, n_rows, n_features), scores)
