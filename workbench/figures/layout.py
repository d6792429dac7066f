"""Where each node of a graph lies on the layer × token map: columns are tokens, rows are layers, logits on top."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len

from tasks.graphs.view import GraphView, NodeView
from workbench.tui.render.tokens import fit, show_token

PITCH = 14.0
"""Pixels between marks of one cell."""
CHARACTER = 6.7
"""Pixels a terminal cell of the small text takes."""
LEFT, RIGHT = 46.0, 18.0
_NARROWEST, _WIDEST_LABEL, _TARGET_WIDTH = 22.0, 16, 1040.0
_EMPTY_ROW, _ROW_PADDING, _LOWEST_MAP = 9.0, 8.0, 240.0
_LOGIT_HEIGHT, _LOGIT_GAP = 22.0, 6.0
_TILTED_LABEL = 84.0


@dataclass(frozen=True)
class Box:
    """A rectangle of the map, in pixels from its top left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle."""
        return self.left + self.width / 2, self.top + self.height / 2


@dataclass(frozen=True)
class MapLayout:
    """The map: the size of it all, the columns and rows, and the place of each node."""

    width: float
    height: float
    columns: tuple[Box, ...]
    """[position]: from the first row to the last."""
    rows: Mapping[int, Box]
    """Layer -> its row."""
    labels_top: float
    tilted: bool
    """Whether the token labels do not fit their columns level."""
    boxes: Mapping[int, Box]
    """Logits (and tokens) as boxes with text."""
    points: Mapping[int, tuple[float, float]]
    """Every node's middle."""


def map_layout(view: GraphView, top: float = 0.0) -> MapLayout:
    """Lay the graph out below `top`; as wide as a page where that is enough, wider for long prompts."""
    cells = _cells(view)
    per_row = {
        position: _columns_of_cell(len(nodes) for (_, at), nodes in cells.items() if at == position)
        for position in range(len(view.tokens))
    }
    lefts, tilted = _columns(view, per_row)
    width = lefts[-1] + RIGHT
    logits, logits_height = _logit_boxes(view, width, top)
    rows = _rows(cells, per_row, top + logits_height + 26.0, width)
    bottom = max((row.top + row.height for row in rows.values()), default=top + logits_height + 26.0)
    columns = tuple(
        Box(left, top + logits_height + 20, right - left, bottom - top - logits_height - 20)
        for left, right in pairwise(lefts)
    )
    points = {node: box.centre for node, box in logits.items()}
    for (layer, position), nodes in cells.items():
        points |= _cell_points(nodes, rows[layer], columns[position], per_row[position])
    labels = bottom + 16.0
    tokens = _token_boxes(view, columns, labels)
    points |= {node: (box.centre[0], box.top) for node, box in tokens.items()}
    height = labels + (_TILTED_LABEL if tilted else 24.0)
    return MapLayout(width, height, columns, rows, labels, tilted, logits | tokens, points)


def _cells(view: GraphView) -> dict[tuple[int, int], list[NodeView]]:
    """(layer, position) -> its features, strongest first, then its error."""
    cells: dict[tuple[int, int], list[NodeView]] = {}
    for node in view.nodes.values():
        if node.kind in ("feature", "error"):
            cells.setdefault((node.layer, node.position), []).append(node)
    for nodes in cells.values():
        nodes.sort(key=lambda node: (node.kind == "error", -_size(node.share)))
    return cells


def _size(value: float) -> float:
    return 0.0 if math.isnan(value) else abs(value)


def _columns_of_cell(counts: Iterable[int]) -> int:
    """Marks side by side in one column's cells: broad where cells are full, so that rows stay low."""
    return max(1, math.ceil(math.sqrt(2.2 * max(counts, default=1))))


def _columns(view: GraphView, per_row: Mapping[int, int]) -> tuple[list[float], bool]:
    """(left edges and the last right one, whether labels are tilted)."""
    texts = [min(cell_len(show_token(token)), _WIDEST_LABEL) * CHARACTER + 10 for token in view.tokens]
    needed = [max(per_row[position] * PITCH + 10, _NARROWEST) for position in range(len(view.tokens))]
    level = [max(pair) for pair in zip(texts, needed, strict=True)]
    tilted = sum(level) > max(_TARGET_WIDTH, 1.25 * sum(needed))
    widths = needed if tilted else level
    slack = max(0.0, _TARGET_WIDTH - LEFT - RIGHT - sum(widths)) / len(widths)
    lefts = [LEFT]
    for column in widths:
        lefts.append(lefts[-1] + column + slack)
    return lefts, tilted


def _rows(
    cells: Mapping[tuple[int, int], Sequence[NodeView]], per_row: Mapping[int, int], top: float, width: float
) -> dict[int, Box]:
    """Layer -> row, from the highest that has nodes to the lowest."""
    layers = [layer for layer, _ in cells]
    heights: dict[int, float] = {}
    for layer in range(max(layers, default=-1), min(layers, default=0) - 1, -1):
        lines = [math.ceil(len(nodes) / per_row[at]) for (row, at), nodes in cells.items() if row == layer]
        heights[layer] = max(lines) * PITCH + _ROW_PADDING if lines else _EMPTY_ROW
    taller = max(1.0, _LOWEST_MAP / max(sum(heights.values()), 1.0))
    rows: dict[int, Box] = {}
    for layer, height in heights.items():
        rows[layer] = Box(LEFT, top, width - LEFT - RIGHT, height * taller)
        top += height * taller
    return rows


def _cell_points(nodes: Sequence[NodeView], row: Box, column: Box, per_row: int) -> dict[int, tuple[float, float]]:
    """Marks in reading order, the whole group in the middle of its cell."""
    lines = [nodes[start : start + per_row] for start in range(0, len(nodes), per_row)]
    middle, first = column.centre[0], row.centre[1] - (len(lines) - 1) * PITCH / 2
    return {
        node.node: (middle + (place - (len(line) - 1) / 2) * PITCH, first + number * PITCH)
        for number, line in enumerate(lines)
        for place, node in enumerate(line)
    }


def _logit_boxes(view: GraphView, width: float, top: float) -> tuple[dict[int, Box], float]:
    """Boxes from the right edge leftwards, in the order of their probability, and how high they are together."""
    boxes: dict[int, Box] = {}
    right, line = width - RIGHT, 0
    for node in (view.nodes[root] for root in view.roots if view.nodes[root].kind == "logit"):
        box_width = cell_len(logit_text(node)) * CHARACTER + 16
        if right - box_width < LEFT and right < width - RIGHT:
            right, line = width - RIGHT, line + 1
        boxes[node.node] = Box(right - box_width, top + line * (_LOGIT_HEIGHT + _LOGIT_GAP), box_width, _LOGIT_HEIGHT)
        right -= box_width + _LOGIT_GAP
    return boxes, (line + 1) * (_LOGIT_HEIGHT + _LOGIT_GAP)


def logit_text(node: NodeView) -> str:
    """What stands in a logit's box."""
    rival = f" − {fit(show_token(node.rival), _WIDEST_LABEL)}" if node.rival else ""
    return f"{fit(show_token(node.text), _WIDEST_LABEL)}{rival}  p {node.activation:.3f}"


def token_text(token: str) -> str:
    """What stands below a column."""
    return fit(show_token(token), _WIDEST_LABEL)


def _token_boxes(view: GraphView, columns: Sequence[Box], top: float) -> dict[int, Box]:
    tokens = [node for node in view.nodes.values() if node.kind == "token"]
    return {node.node: Box(columns[node.position].left + 2, top - 8, columns[node.position].width - 4, 22)
            for node in tokens}  # fmt: skip
