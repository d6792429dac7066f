"""The edges of a dense graph as a matrix or two a layer, laid so that each node threshold cuts a corner out of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.cutoff import Numbers, smallest_kept
from tasks.graphs.dead_ends import Mask, dead_ends
from tasks.graphs.influence import SMALLEST_ROW_SUM
from tasks.graphs.raw import Ints, RawGraph

_SAMPLE = 60_000
"""From about so many edges it is guessed between which two scores the cutoff lies; only edges between are ordered."""
_STANDARD_ERRORS = 5
"""How far from the sample's cutoff the two scores lie."""
_SINGLE_ROUNDING = 1e-5
"""Sizes are compared with them in float32; so much further away no edge is on the wrong side."""
_TINY, _SMALLEST, _LARGEST = 1e-300, np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
_PARTS, _ROWS = 2, 100
"""A layer with many targets is split by their position into up to `_PARTS` strips, as no edge comes from later ones."""
_STEP = 128
"""Each row's sum is known up to every so many columns."""
_WORTH_A_THREAD = 4_000_000
"""With so many cells two threads are faster than one."""
_NO_EDGE = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Strip:
    """All edges into some targets of one layer: rows and columns by influence, greatest first, 0 where no edge is."""

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
    sum_before: Numbers
    """[row, k]: Σ size over the columns before the k-th `_STEP`."""

    def row_sum(self, n_rows: int, n_columns: int) -> Numbers:
        """[row]: Σ size over the first `n_columns`, never below `SMALLEST_ROW_SUM`."""
        k = n_columns // _STEP
        total: Numbers = self.size[:n_rows, k * _STEP : n_columns].sum(1, dtype=np.float64)
        total += self.sum_before[:n_rows, k]
        return np.maximum(total, SMALLEST_ROW_SUM, out=total)


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
        cell = np.arange(step // 2, self.size.size, step)
        row = cell // max(self.n_columns, 1)
        cell += row * (self.strip.size.shape[1] - self.n_columns)
        return self.strip.size.ravel().take(cell) * (self.output / self.row_sum)[row]

    def above(self, low: float, high: float) -> _Found:
        """The edges whose score is not below `low`."""
        mask = self.size >= self._smallest(low * (1 - _SINGLE_ROUNDING))[:, None]
        cell = np.flatnonzero(mask)
        starts = np.searchsorted(cell, np.arange(len(mask) + 1) * self.n_columns)
        n_found = np.diff(starts)
        place = np.repeat(np.arange(len(mask)) * (self.strip.size.shape[1] - self.n_columns), n_found)
        place += cell
        size = self.strip.size.ravel().take(place)
        between = np.flatnonzero(size < np.repeat(self._smallest(high * (1 + _SINGLE_ROUNDING)), n_found))
        row = np.searchsorted(starts, between, side="right") - 1
        score = size[between] / self.row_sum[row] * self.output[row]
        some = n_found.nonzero()[0]
        sums = np.add.reduceat(size, starts[some], dtype=np.float64) if len(some) else np.zeros(0)
        mass = float(sums @ (self.output[some] / self.row_sum[some]))
        return _Found(self, mask, self.strip.edge.ravel().take(place), mass, between, cell[between], score)

    def _smallest(self, score: float) -> NDArray[np.float32]:
        """[row]: the size from which an edge scores at least `score`; beyond all for a target without influence."""
        size = np.where(self.output > 0, score * self.row_sum / np.maximum(self.output, _TINY), np.inf)
        with np.errstate(over="ignore"):
            single: NDArray[np.float32] = size.astype(np.float32)
        np.maximum(single, _SMALLEST, out=single)
        return single


@dataclass(frozen=True)
class _Found:
    """The edges of a corner that may be kept: those above one score, and which of them are not above another."""

    corner: _Corner
    mask: Mask
    """[row, column]: where they are; edges that go are taken away here."""
    edge: NDArray[np.int32]
    """[edge]: position among the graph's edges; `_NO_EDGE` once it went."""
    mass: float
    """Σ score, over all."""
    between: Ints
    """Which of them lie between the two scores."""
    cell: Ints
    """Those edges' places in the corner, counted row by row."""
    score: Numbers
    """Those edges' scores."""

    def leave_out(self, cutoff: float) -> None:
        """Take away what scores less than `cutoff`."""
        gone = self.score < cutoff
        self.mask.ravel()[self.cell[gone]] = False
        self.edge[self.between[gone]] = _NO_EDGE

    @property
    def rows(self) -> Ints:
        """[row]: target."""
        return self.corner.strip.rows[: len(self.mask)]

    @property
    def columns(self) -> Ints:
        """[column]: source."""
        return self.corner.strip.columns[: self.corner.n_columns]

    def remove(self, dead: Mask) -> NDArray[np.int32]:
        """Take away the edges of the nodes in `dead` [node] from `mask`, and say which they are."""
        gone = self.mask & (dead[self.rows][:, None] | dead[self.columns])
        self.mask[gone] = False
        row, column = gone.nonzero()
        return self.corner.strip.edge[row, column]


class Strips:
    """A graph as strips, the top layer first."""

    def __init__(self, graph: RawGraph, rank: Ints) -> None:
        """Lay out `graph` by `rank` [node]: the place by influence from 1, 0 of nodes that always stay."""
        self._graph = graph
        self._weight = graph.weight.astype(np.float64)
        self._strips = list(_strips(graph, rank))

    def choose(self, node_kept: Mask, threshold: float) -> tuple[Mask, NDArray[np.int32]]:
        """(nodes, edges ascending): the edges among `node_kept` that carry `threshold` of their influence, and the
        nodes that are then no dead ends."""
        corners = self._corners(int(node_kept[: self._graph.first_token].sum()))
        found = _chosen(corners, threshold)
        node_kept, gone = _remove_dead_ends(self._graph, node_kept, found)
        edges = np.concatenate([np.zeros(0, np.int32), *(part.edge for part in found)])
        edges.sort()
        edges = edges[: np.searchsorted(edges, _NO_EDGE)]
        return node_kept, np.delete(edges, np.searchsorted(edges, gone)) if len(gone) else edges

    def _corners(self, n_kept: int) -> list[_Corner]:
        """The kept corner of every strip; influence flows from the top through them."""
        output, corners = self._weight.copy(), []
        for strip in self._strips:
            n_rows, n_columns = (
                int(np.searchsorted(ranks, n_kept, side="right")) for ranks in (strip.row_rank, strip.column_rank)
            )
            corner = _Corner(strip, n_columns, strip.row_sum(n_rows, n_columns), output[strip.rows[:n_rows]])
            flow = np.einsum("r,rc->c", corner.output / corner.row_sum, corner.size)
            output[strip.columns[:n_columns]] += flow
            corners.append(corner)
        return corners


def _chosen(corners: list[_Corner], threshold: float) -> list[_Found]:
    """The edges of the corners that carry `threshold` of their influence."""
    total = float(sum(corner.output[corner.row_sum > SMALLEST_ROW_SUM].sum() for corner in corners))
    low, high = _around_cutoff(corners, threshold, total)
    while True:
        found = _above(corners, low, high)
        scores = [part.score for part in found]
        mass = sum(part.mass for part in found)
        surely = mass - sum(float(score.sum()) for score in scores) if high < np.inf else 0.0
        cutoff = smallest_kept(scores, (threshold * total - surely) / max(total, _TINY), total)
        if high == np.inf or (surely < threshold * total <= mass and low <= cutoff <= high):
            break
        low, high = (low / 2, high * 2) if low > SMALLEST_ROW_SUM else (0.0, np.inf)
    for part in found:
        part.leave_out(cutoff)
    return found


def _above(corners: list[_Corner], low: float, high: float) -> list[_Found]:
    """The edges of each corner whose score is not below `low`; of many corners two at a time, as numpy lets threads."""

    def of(some: list[_Corner]) -> list[_Found]:
        return [corner.above(low, high) for corner in some]

    if sum(corner.size.size for corner in corners) < _WORTH_A_THREAD:
        return of(corners)
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(of, corners[1::2])
        return of(corners[::2]) + other.result()


def _around_cutoff(corners: list[_Corner], threshold: float, total: float) -> tuple[float, float]:
    """Two scores between which the cutoff probably lies, from a sample of the edges; (0, ∞) if that cannot say."""
    n_edges = sum(corner.size.size for corner in corners)
    step = max(n_edges // _SAMPLE, 1) | 1
    score = np.sort(np.concatenate([np.zeros(0), *(corner.sample(step) for corner in corners)]))
    below = step * score.cumsum()
    wanted = (1 - threshold) * total
    cut = int(np.searchsorted(below, wanted))
    if cut >= len(score):
        return 0.0, np.inf
    error = _STANDARD_ERRORS * step * float(np.sqrt(np.square(score[: cut + 1]).sum()))
    low, high = np.searchsorted(below, (wanted - error, wanted + error))
    if score[low] == 0.0 or high == len(score):
        return 0.0, np.inf
    return float(score[low]), float(score[high])


def _remove_dead_ends(graph: RawGraph, node_kept: Mask, found: list[_Found]) -> tuple[Mask, NDArray[np.int32]]:
    """(what is left of the nodes `node_kept` when dead ends go, the edges that go with them)."""
    node_kept, gone = node_kept.copy(), [np.zeros(0, np.int32)]
    while True:
        leads, fed = np.zeros(graph.n_nodes, dtype=np.bool_), np.zeros(graph.n_nodes, dtype=np.bool_)
        for part in found:
            leads[part.columns] |= part.mask.any(0)
            fed[part.rows] = part.mask.any(1)
        dead = dead_ends(graph, node_kept, leads, fed)
        if not dead.any():
            return node_kept, np.concatenate(gone)
        node_kept &= ~dead
        gone += [part.remove(dead) for part in found]


def n_cells(graph: RawGraph) -> int:
    """How many cells the strips of `graph` have at most."""
    is_target = np.ones(graph.n_nodes, dtype=np.bool_)
    is_target[graph.first_error : graph.first_target] = False
    n_rows = np.bincount(graph.layer[is_target] + 1, minlength=graph.n_layers + 2)
    n_sources = np.bincount(graph.layer[: graph.first_target] + 1, minlength=graph.n_layers + 2)
    return int((n_rows * (n_sources.cumsum() - n_sources)).sum())


def _strips(graph: RawGraph, rank: Ints) -> Iterator[Strip]:
    by_rank = rank.argsort(kind="stable")
    is_target = (by_rank < graph.first_error) | (by_rank >= graph.first_target)
    group = np.full(graph.n_nodes, -1, dtype=np.int16)
    n_groups = 0
    for layer in range(graph.n_layers, -1, -1):
        rows = by_rank[is_target & (graph.layer[by_rank] == layer)]
        n_parts = min(_PARTS, 1 + len(rows) // _ROWS)
        n_before = np.searchsorted(np.sort(graph.position[rows]), graph.position[rows])
        group[rows] = n_groups + n_before * n_parts // max(len(rows), 1)
        n_groups += n_parts
    edge_group = group[graph.target]
    for number in range(n_groups):
        edge = (edge_group == number).nonzero()[0]
        if len(edge):
            yield _strip(graph, rank, by_rank, by_rank[group[by_rank] == number], edge)


def _strip(graph: RawGraph, rank: Ints, by_rank: Ints, rows: Ints, edge: Ints) -> Strip:
    """The strip of the targets `rows`, into which `edge` leads; both ends by rank."""
    source, target = graph.source[edge], graph.target[edge]
    is_source = np.zeros(graph.n_nodes, dtype=np.bool_)
    is_source[source] = True
    columns = by_rank[is_source[by_rank]]
    row, column = np.empty(graph.n_nodes, dtype=np.int64), np.empty(graph.n_nodes, dtype=np.int64)
    row[rows], column[columns] = np.arange(len(rows)), np.arange(len(columns))
    cell = row[target] * len(columns) + column[source]
    n_cells = len(rows) * len(columns)
    size, number = np.zeros(n_cells, np.float32), np.full(n_cells, -1, np.int32)
    size[cell], number[cell] = np.abs(graph.share[edge]), edge
    sizes, numbers = size.reshape(len(rows), len(columns)), number.reshape(len(rows), len(columns))
    ends = rows.astype(np.int32), columns.astype(np.int32)
    return Strip(*ends, rank[rows], rank[columns], sizes, numbers, _sums_before(sizes))


def _sums_before(size: NDArray[np.float32]) -> Numbers:
    """[row, k]: Σ size over the columns before the k-th `_STEP`."""
    n_steps = size.shape[1] // _STEP
    parts = [size[:, k * _STEP : (k + 1) * _STEP].sum(1, dtype=np.float64) for k in range(n_steps)]
    return np.stack([np.zeros(len(size)), *parts], axis=1).cumsum(1)
