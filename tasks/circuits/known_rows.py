"""The rows attributed so far, kept sparse, and which features to attribute next (METHOD §4, the node budget)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.circuits.sweep import ShareRows, Sweep
from tasks.circuits.targets import Target
from tasks.graphs.raw import starting_weights

EDGE_BYTES = 8
"""A column and a share."""
MOST_EDGES = 2**15
"""Of a row whose edges do not all fit: at most this many are kept, the largest."""
_SAMPLED = 2**14
"""About how many columns of a row tell how large an edge must be to be among the largest."""


class KnownRows:
    """Rows in the order in which they came; those of the targets first."""

    def __init__(self, sweep: Sweep, targets: Sequence[Target], max_nodes: int, memory: int) -> None:
        """No row yet. Finished rows take at most `memory` bytes: where complete ones would not fit, each keeps its
        largest edges, and the others go into its totals."""
        self.sources = sweep.sources
        self.targets = tuple(targets)
        self.check = sweep.check
        self.device = sweep.run.embeddings.device
        self.weights = torch.tensor(starting_weights([t.probability for t in targets]), device=self.device)
        self.visited = ~self._reachable(sweep.model.n_layers)
        self.unreachable = self.visited.clone()
        self.n_candidates = int((~self.visited).sum())
        self.budget = min(max_nodes, self.n_candidates)
        n_rows = self.budget + len(targets)
        most = memory // (EDGE_BYTES * n_rows)
        self.most_edges = most if most >= self.sources.n_columns else max(1, min(most, MOST_EDGES))
        n_edges = n_rows * min(self.most_edges, self.sources.n_columns)
        self.edges = Edges(
            torch.empty(n_edges, dtype=torch.int32, device=self.device), torch.empty(n_edges, device=self.device)
        )
        self.n_edges = 0
        self.blocks: list[RowBlock] = []
        self.n_features = 0

    def _reachable(self, n_layers: int) -> Bool[Tensor, " n"]:
        """The features from which a path can lead to a target: below it, and not after it."""
        features = self.sources.features
        reachable = torch.zeros(len(features), dtype=torch.bool, device=self.device)
        for target in self.targets:
            reachable |= (features.layer < target.layer_in(n_layers)) & (features.position <= target.position)
        return reachable

    def add(self, features: Int[Tensor, " row"], rows: ShareRows) -> None:
        """Keep a block of rows; `features` are their columns, upper layers first; none for the targets."""
        block = RowBlock.of(features, rows, self.most_edges, self.edges.after(self.n_edges), self.check)
        self.blocks.append(block)
        self.n_edges += len(block.share)
        self.visited[features] = True
        self.n_features += len(features)

    def next_features(self, refresh: int) -> Int[Tensor, " count"]:
        """Which features to attribute next, ascending: all if the budget covers them, else the most influential."""
        if self.budget == self.n_candidates:
            return (~self.visited).nonzero().squeeze(1)
        influence = self._influence()[: len(self.visited)]
        influence[self.visited] = -1.0
        count = min(refresh, self.budget - self.n_features)
        return influence.sort(descending=True, stable=True).indices[:count].sort().values

    def blocks_of(self, features: Int[Tensor, " n"], size: int) -> list[Int[Tensor, " row"]]:
        """The features in blocks that share their causal cone: by position, and upper layers first in each block."""
        layer, position = self.sources.features.layer[features], self.sources.features.position[features]
        by_cone = features[(position * (self.sources.n_layers + 1) - layer).argsort(stable=True)]
        blocks = by_cone.split(size)
        return [part[self.sources.features.layer[part].argsort(descending=True, stable=True)] for part in blocks]

    def _influence(self) -> Float[Tensor, " column"]:
        """Influence on the targets of every column, through known rows only; rows by layer, from the top."""
        influence = torch.zeros(self.sources.n_columns, device=self.device)
        of_targets, *blocks = self.blocks
        of_targets.spread(slice(0, len(self.targets)), self.weights, influence)
        of_layer: dict[int, list[tuple[RowBlock, slice]]] = {}
        for block in blocks:
            first = 0
            layers, counts = self.sources.features.layer[block.features].unique_consecutive(return_counts=True)
            for layer, count in zip(layers.tolist(), counts.tolist(), strict=True):
                of_layer.setdefault(layer, []).append((block, slice(first, first + count)))
                first += count
        for layer in sorted(of_layer, reverse=True):
            for block, rows in of_layer[layer]:
                block.spread(rows, influence[block.features[rows]], influence)
        return influence


@dataclass(frozen=True)
class Edges:
    """Room for the edges of many rows; on the host what is not written to takes no memory."""

    column: Int[Tensor, " edge"]
    share: Float[Tensor, " edge"]

    def after(self, first: int) -> "Edges":
        """The room from `first` on."""
        return Edges(self.column[first:], self.share[first:])

    def put(self, column: Int[Tensor, " k"], share: Float[Tensor, " k"]) -> "Edges":
        """Write to the front of this room; what was written, in its place."""
        return Edges(self.column[: len(column)].copy_(column), self.share[: len(share)].copy_(share))


@dataclass(frozen=True)
class RowBlock:
    """Rows with the edges that were worth keeping, and totals over all of them."""

    features: Int[Tensor, " attributed"]
    """The rows' own columns; empty for targets."""
    start: Int[Tensor, " row_and_end"]
    """Where each row's edges begin."""
    column: Int[Tensor, " edge"]
    share: Float[Tensor, " edge"]
    total: Float[Tensor, " row"]
    """Sum of the shares of all columns."""
    size: Float[Tensor, " row"]
    """Sum of |share| over all columns."""
    bias: Float[Tensor, " row"]
    value: Float[Tensor, " row"]
    gap: Float[Tensor, " row"]
    """|total + bias - value|."""

    @classmethod
    def of(
        cls,
        features: Int[Tensor, " attributed"],
        rows: ShareRows,
        most_edges: int,
        room: Edges,
        check: Callable[[], None] = lambda: None,
    ) -> "RowBlock":
        """Take the `most_edges` largest of each row out of dense rows, and put them into `room`.

        `check` is called on the way: it may raise to stop.
        """
        sizes = rows.shares.abs()
        size = sizes.sum(1)
        kept = sizes > 0 if most_edges >= sizes.shape[1] else largest(sizes, most_edges, check)
        check()
        place = kept.view(-1).nonzero().squeeze(1)
        check()
        edges = room.put((place % kept.shape[1]).int(), rows.shares.view(-1).index_select(0, place))
        check()
        return cls(
            features=features,
            start=torch.searchsorted(place, torch.arange(len(size) + 1, device=size.device) * kept.shape[1]),
            column=edges.column,
            share=edges.share,
            total=rows.shares.sum(1),
            size=size,
            bias=rows.bias,
            value=rows.value,
            gap=rows.gap,
        )

    @property
    def row(self) -> Int[Tensor, " edge"]:
        """The row of each edge."""
        rows = torch.arange(len(self.size), dtype=torch.int32, device=self.size.device)
        return rows.repeat_interleave(self.start.diff())

    def spread(self, rows: slice, influence: Float[Tensor, " _rows"], onto: Float[Tensor, " column"]) -> None:
        """Add to `onto` what these rows, having `influence`, pass to each column."""
        edges = slice(int(self.start[rows.start]), int(self.start[rows.stop]))
        per_unit = influence / self.size[rows].clamp(min=1e-10)
        counts = self.start[rows.start : rows.stop + 1].diff()
        onto.index_add_(0, self.column[edges], self.share[edges].abs() * per_unit.repeat_interleave(counts))

    def totals(self) -> Float[Tensor, "6 row"]:
        """Per row: bias, value, gap, size, and what has no edge here: its sum and the sum of its sizes."""
        row, shares = self.row, (self.share, self.share.abs())
        inside = torch.stack([torch.bincount(row, each, len(self.size)).float() for each in shares])
        outside = torch.stack([self.total, self.size]) - inside
        return torch.cat([torch.stack([self.bias, self.value, self.gap, self.size]), outside])

    def numbered(self, number: Int[Tensor, " column"], room: Edges) -> "RowBlock":
        """The edges from numbered columns (`number` ≥ 0) alone, by number, in `room`, which may begin in this block's
        own place or before it."""
        source = number[self.column]
        inside = source >= 0
        if bool(inside.all()) and self.share.data_ptr() == room.share.data_ptr():
            return replace(self, column=self.column.copy_(source))
        edges = room.put(source[inside], self.share[inside])
        before = torch.nn.functional.pad(inside.cumsum(0), (1, 0))
        return replace(self, start=before[self.start], column=edges.column, share=edges.share)


def largest(
    sizes: Float[Tensor, "row column"], most: int, check: Callable[[], None] = lambda: None
) -> Bool[Tensor, "row column"]:
    """A mask of the about `most` largest entries of each row that are not zero, and never more than that.

    How large those are is read off every n-th column; a row that has more of that size is cut exactly.
    """
    step = max(1, sizes.shape[1] // _SAMPLED)
    sample = sizes[:, ::step]
    rank = min(max(most // step, 1), sample.shape[1])
    kept = (sizes >= sample.kthvalue(sample.shape[1] - rank + 1).values[:, None]) & (sizes > 0)
    for row in (kept.sum(1) > most).nonzero().flatten().tolist():
        check()
        inside = sizes[row][kept[row]]
        kept[row] &= sizes[row] > inside.kthvalue(len(inside) - most).values
    return kept
