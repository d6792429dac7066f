"""Which features are active on which tokens, and the products of training restricted to those pairs (METHOD §6).

A batch has rows x features codes of which some dozens a row are not zero. Every product of a training step but the
encoder's is needed at these pairs alone: the decoder is a weighted sum of some rows, the gradient of the codes a dot
product a pair, and the gradient of the weights a weighted sum of the tokens of each feature, once the pairs are sorted
by feature. Where the pairs are too many for that to pay, the same functions go through dense products, which are the
ones that autocast makes bfloat16's: what is looked up and summed by pairs is bound by memory, and stays float32, as do
all results.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

DENSE_ABOVE = {"cpu": 1 / 16, "cuda": 1 / 130}
"""The share of pairs among rows x features above which dense products are faster, by device."""
_DENSE_ENTRIES = 1 << 22
"""Codes held at once where products are dense."""


@dataclass(frozen=True)
class Pairs:
    """The (row, feature) pairs of a batch, in the order of rows."""

    row_starts: Int[Tensor, " rows_and_end"]
    """Where each row's pairs begin, and their number at the end."""
    features: Int[Tensor, " pairs"]
    n_features: int

    @property
    def n_rows(self) -> int:
        """Rows of the batch."""
        return len(self.row_starts) - 1

    @property
    def n_pairs(self) -> int:
        """Pairs in all."""
        return len(self.features)

    @cached_property
    def rows(self) -> Int[Tensor, " pairs"]:
        """The row of each pair."""
        numbers = torch.arange(self.n_rows, dtype=self.features.dtype, device=self.features.device)
        return numbers.repeat_interleave(self.row_starts.diff(), output_size=self.n_pairs)

    @cached_property
    def dense(self) -> bool:
        """Whether products go through dense matrices."""
        most = DENSE_ABOVE.get(self.features.device.type, 1 / 16)
        return self.n_pairs > most * self.n_rows * self.n_features

    def only(self, chosen: Tensor) -> "Pairs":
        """The pairs where `chosen` [pairs] is true."""
        return pairs_of(self.rows[chosen], self.features[chosen], self.n_rows, self.n_features)

    def stretches(self) -> Iterator[tuple[slice, slice]]:
        """(rows, their pairs), few enough rows for their codes to be written out."""
        step = max(1, _DENSE_ENTRIES // self.n_features)
        for first in range(0, self.n_rows, step):
            last = min(first + step, self.n_rows)
            yield slice(first, last), slice(int(self.row_starts[first]), int(self.row_starts[last]))

    def written_out(
        self, values: Float[Tensor, " pairs"], rows: slice, held: slice
    ) -> Float[Tensor, "rows n_features"]:
        """The values of a stretch as a matrix."""
        matrix = values.new_zeros(rows.stop - rows.start, self.n_features)
        matrix[self.rows[held] - rows.start, self.features[held]] = values[held]
        return matrix


def pairs_of(rows: Int[Tensor, " pairs"], features: Int[Tensor, " pairs"], n_rows: int, n_features: int) -> Pairs:
    """The pairs (rows[i], features[i]), whose rows must not fall."""
    starts = torch.zeros(n_rows + 1, dtype=torch.int32, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=n_rows), 0, dtype=torch.int32, out=starts[1:])
    pairs = Pairs(starts, features.int(), n_features)
    pairs.__dict__["rows"] = rows.int()
    return pairs


def decode(
    pairs: Pairs, values: Float[Tensor, " pairs"], w_dec: Float[Tensor, "n_features m"]
) -> Float[Tensor, "rows m"]:
    """Each row's Σ values · W_dec[feature]."""
    if not pairs.dense:
        return functional.embedding_bag(
            pairs.features, w_dec, pairs.row_starts[:-1], per_sample_weights=values, mode="sum"
        )
    pieces = [pairs.written_out(values, rows, held) @ w_dec for rows, held in pairs.stretches()]
    return torch.cat(pieces).to(values.dtype)


def dots(pairs: Pairs, x: Float[Tensor, "rows m"], vectors: Float[Tensor, "n_features m"]) -> Float[Tensor, " pairs"]:
    """x[row] · vectors[feature] at each pair."""
    if not pairs.dense:
        pattern = torch.sparse_csr_tensor(
            pairs.row_starts,
            pairs.features,
            x.new_ones(pairs.n_pairs),
            (pairs.n_rows, pairs.n_features),
            check_invariants=False,
        )
        found: Tensor = torch.sparse.sampled_addmm(pattern, x, vectors.T, beta=0.0).values()
        return found
    pieces = [
        (x[rows] @ vectors.T)[pairs.rows[held] - rows.start, pairs.features[held]] for rows, held in pairs.stretches()
    ]
    return torch.cat(pieces).to(x.dtype)


@dataclass(frozen=True)
class ByFeature:
    """The pairs of a batch in the order of features."""

    pairs: Pairs
    order: Int[Tensor, " pairs"]
    rows: Int[Tensor, " pairs"]
    """The row of each pair, in this order."""
    starts: Int[Tensor, " features_and_end"]
    """Where each feature's pairs begin, and their number at the end."""

    @classmethod
    def of(cls, pairs: Pairs) -> "ByFeature":
        """Sort them once; rows stay in order within a feature."""
        order = pairs.features.argsort(stable=True)
        starts = torch.zeros(pairs.n_features + 1, dtype=torch.int32, device=order.device)
        counts = torch.bincount(pairs.features, minlength=pairs.n_features)
        torch.cumsum(counts, 0, dtype=torch.int32, out=starts[1:])
        return cls(pairs, order, pairs.rows[order], starts)

    def sums(
        self, weights: Float[Tensor, " pairs"], x: Float[Tensor, "rows m"], first: int, last: int
    ) -> Float[Tensor, "some_features m"]:
        """Σ weights · x[row] over the pairs of each of the features [first, last); `weights` are in this order."""
        held = slice(int(self.starts[first]), int(self.starts[last]))
        if not self.pairs.dense:
            starts = self.starts[first:last] - self.starts[first]
            return functional.embedding_bag(self.rows[held], x, starts, per_sample_weights=weights[held], mode="sum")
        matrix = weights.new_zeros(last - first, len(x))
        matrix[self.pairs.features[self.order[held]] - first, self.rows[held]] = weights[held]
        return (matrix @ x).to(x.dtype)

    def totals(self, weights: Float[Tensor, " pairs"]) -> Float[Tensor, " n_features"]:
        """Σ weights of each feature; `weights` are in the order of rows."""
        total = weights.new_zeros(self.pairs.n_features)
        return total.index_add_(0, self.pairs.features, weights)
