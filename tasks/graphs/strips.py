"""The edges of a dense graph as one matrix a layer, laid so that every node threshold cuts a corner out of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.cutoff import Numbers, smallest_kept
from tasks.graphs.influence import SMALLEST_ROW_SUM
from tasks.graphs.raw import Ints, RawGraph

_SAMPLE = 60_000
"""From about so many edges the cutoff is guessed, before those above the guess are looked at one by one."""
_SLACK = 0.35
"""The guess lets so much more through than the threshold says, as a part of what it leaves out."""
_SINGLE_ROUNDING = 1e-5
"""Sizes are compared with the guess in float32; this much lower nothing is missed."""
_CACHED = 2**16
"""Cells looked at together: half a MiB in float64."""
_TINY, _LARGEST = 1e-300, np.finfo(np.float32).max


@dataclass(frozen=True)
class Chosen:
    """The edges that pruning chose, before dead ends go."""

    source: Ints
    target: Ints
    edge: Ints
    """Their positions among the graph's edges."""


@dataclass(frozen=True)
class Strip:
    """All edges into the targets of one layer: rows and columns by influence, greatest first, 0 where no edge is."""

    rows: Ints
    """[row]: target."""
    columns: Ints
    """[column]: source, below the layer."""
    row_rank: Ints
    column_rank: Ints
    size: NDArray[np.float32]
    """[row, column]: |share|."""
    edge: NDArray[np.int32]
    """[row, column]: position among the graph's edges."""


@dataclass(frozen=True)
class _Corner:
    """The edges of a strip between kept nodes, with the influence that was found on them."""

    strip: Strip
    n_columns: int
    row_sum: Numbers
    """[row]: Σ size over the kept sources."""
    output: Numbers
    """[row]: I + w of the target."""

    @property
    def size(self) -> NDArray[np.float32]:
        """[row, column]: |share|, of the corner alone."""
        return self.strip.size[: len(self.output), : self.n_columns]

    def sample(self, step: int) -> Numbers:
        """The scores of every `step`-th edge."""
        row, column = np.divmod(np.arange(step // 2, self.size.size, step), max(self.n_columns, 1))
        return self.size[row, column] * (self.output / self.row_sum)[row]

    def above(self, guess: float) -> _Found:
        """The edges whose score is not below `guess`."""
        smallest = guess * (1 - _SINGLE_ROUNDING) * self.row_sum / np.maximum(self.output, _TINY)
        mask = self.size >= np.minimum(smallest, _LARGEST).astype(np.float32)[:, None]
        cell = np.flatnonzero(mask)
        n_found = _row_lengths(cell, mask.shape)
        cell += np.repeat(np.arange(len(n_found)) * (self.strip.size.shape[1] - self.n_columns), n_found)
        score = self.strip.size.ravel().take(cell) / np.repeat(self.row_sum, n_found)
        score *= np.repeat(self.output, n_found)
        return _Found(self.strip, cell, score)


@dataclass(frozen=True)
class _Found:
    """Edges of a strip by their cell, row by row, with their scores."""

    strip: Strip
    cell: Ints
    score: Numbers

    @cached_property
    def mass(self) -> float:
        """Σ score."""
        return float(self.score.sum())

    def chosen(self, cutoff: float) -> Chosen:
        """Those whose score is not below `cutoff`."""
        cell = self.cell.take(((self.score >= cutoff) & (self.score > 0)).nonzero()[0])
        n_found = _row_lengths(cell, self.strip.size.shape)
        column = cell - np.repeat(np.arange(len(n_found)) * len(self.strip.columns), n_found)
        source, target = self.strip.columns.take(column), np.repeat(self.strip.rows, n_found)
        return Chosen(source, target, self.strip.edge.ravel().take(cell))


class Strips:
    """A graph as strips, the top layer first."""

    def __init__(self, graph: RawGraph, rank: Ints) -> None:
        """Lay out `graph` by `rank` [node]: the place by influence from 1, 0 of nodes that always stay."""
        self._weight = graph.weight.astype(np.float64)
        self._strips = list(_strips(graph, rank))

    def choose(self, n_kept: int, threshold: float) -> Chosen:
        """The edges among the `n_kept` most influential nodes that carry `threshold` of their influence."""
        corners = self._corners(n_kept)
        total = float(sum(corner.output[corner.row_sum > SMALLEST_ROW_SUM].sum() for corner in corners))
        guess = _guess(corners, threshold)
        while True:
            found = [corner.above(guess) for corner in corners]
            if guess == 0.0 or sum(part.mass for part in found) >= threshold * total:
                break
            guess = guess / 2 if guess > SMALLEST_ROW_SUM else 0.0
        cutoff = smallest_kept([part.score for part in found], threshold, total)
        chosen = [part.chosen(cutoff) for part in found]
        columns = zip(*((part.source, part.target, part.edge) for part in chosen), strict=True)
        return Chosen(*(np.concatenate(column) for column in columns))

    def _corners(self, n_kept: int) -> list[_Corner]:
        """The kept corner of every strip; influence flows from the top through them."""
        output, corners = self._weight.copy(), []
        for strip in self._strips:
            n_rows, n_columns = (
                int(np.searchsorted(ranks, n_kept, side="right")) for ranks in (strip.row_rank, strip.column_rank)
            )
            out = output[strip.rows[:n_rows]]
            row_sum, flow = _through(strip.size[:n_rows, :n_columns], out)
            output[strip.columns[:n_columns]] += flow
            corners.append(_Corner(strip, n_columns, row_sum, out))
        return corners


def _through(size: NDArray[np.float32], output: Numbers) -> tuple[Numbers, Numbers]:
    """([row]: Σ size, [column]: what the rows' `output` passes to it), in float64, a few rows at a time: those stay in
    the processor's cache."""
    row_sum, flow = np.empty(len(size)), np.zeros(size.shape[1])
    at_once = max(1, _CACHED // max(1, size.shape[1]))
    wide = np.empty((min(at_once, len(size)), size.shape[1]))
    for first in range(0, len(size), at_once):
        rows = slice(first, first + at_once)
        block = wide[: len(size[rows])]
        np.copyto(block, size[rows])
        block.sum(1, out=row_sum[rows])
        np.maximum(row_sum[rows], SMALLEST_ROW_SUM, out=row_sum[rows])
        flow += (output[rows] / row_sum[rows]) @ block
    return row_sum, flow


def n_cells(graph: RawGraph) -> int:
    """How many cells the strips of `graph` have."""
    is_target = np.ones(graph.n_nodes, dtype=np.bool_)
    is_target[graph.first_error : graph.first_target] = False
    n_rows = np.bincount(graph.layer[is_target] + 1, minlength=graph.n_layers + 2)
    n_sources = np.bincount(graph.layer[: graph.first_target] + 1, minlength=graph.n_layers + 2)
    return int((n_rows * (n_sources.cumsum() - n_sources)).sum())


def _strips(graph: RawGraph, rank: Ints) -> Iterator[Strip]:
    by_rank = rank.argsort(kind="stable")
    target_layer = graph.layer.astype(np.int16)[graph.target]
    is_source = by_rank < graph.first_target
    is_target = (by_rank < graph.first_error) | ~is_source
    place = np.zeros(graph.n_nodes, dtype=np.int64)
    for layer in range(graph.n_layers, -1, -1):
        rows = by_rank[is_target & (graph.layer[by_rank] == layer)]
        columns = by_rank[is_source & (graph.layer[by_rank] < layer)]
        if not len(rows):
            continue
        place[rows], place[columns] = np.arange(len(rows)), np.arange(len(columns))
        edge = (target_layer == layer).nonzero()[0]
        cell = place[graph.target[edge]] * len(columns) + place[graph.source[edge]]
        size, number = np.zeros(len(rows) * len(columns), np.float32), np.full(len(rows) * len(columns), -1, np.int32)
        size[cell], number[cell] = np.abs(graph.share[edge]), edge
        shape = len(rows), len(columns)
        ends = rows.astype(np.int32), columns.astype(np.int32)
        yield Strip(*ends, rank[rows], rank[columns], size.reshape(shape), number.reshape(shape))


def _guess(corners: list[_Corner], threshold: float) -> float:
    """A score that is probably a little below the cutoff, from a sample of the edges; 0 if all are wanted."""
    if threshold >= 1.0:
        return 0.0
    n_edges = sum(corner.size.size for corner in corners)
    step = max(n_edges // _SAMPLE, 1) | 1
    sample = np.concatenate([np.zeros(1), *(corner.sample(step) for corner in corners)])
    return smallest_kept([sample], threshold + _SLACK * (1 - threshold))


def _row_lengths(cell: Ints, shape: tuple[int, ...]) -> Ints:
    """[row]: how many of the ascending `cell` of a matrix of that `shape` are in it."""
    return np.diff(np.searchsorted(cell, np.arange(shape[0] + 1) * shape[1]))
