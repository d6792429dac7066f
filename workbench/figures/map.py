"""The layer × token map as SVG elements: edges as curves, features as discs, errors as diamonds, logits and tokens.

What a mark means is never said by colour alone: a negative edge is dashed, a negative feature is hollow, a
contradicted one is crossed out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from tasks.graphs.view import EdgeView, GraphView, NodeView, Verdict
from workbench.figures.layout import MapLayout, logit_text, token_text

MOST_EDGES = 420
"""Edges drawn at once: the strongest. More would hide each other."""
_THICKEST, _THINNEST = 5.0, 0.35
_SMALLEST_MARK, _LARGEST_MARK = 2.4, 6.2
_SIZE_OF_UNKNOWN = 0.15
"""The part of the largest mark's area that a node of unknown share has."""


def number(value: float) -> str:
    """A coordinate: one decimal, no more than a page can show."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, css: str, anchor: str = "start", turn: float = 0.0) -> str:
    """One line of inert text."""
    place = f'x="{number(x)}" y="{number(y)}"'
    turned = f' transform="rotate({turn:g} {number(x)} {number(y)})"' if turn else ""
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text {place} class="{css}"{side}{turned}>{escape(content)}</text>'


def flow(view: GraphView, edge: EdgeView, by: str) -> float:
    """How much of the first logit passes along an edge: its part of its target times what the target carries.

    Other logits count by their probability. By `share`: fractions of the logit's value. By `effect`: nats, where both
    effects are known, else nothing.
    """
    target = view.nodes[edge.target]
    if target.node in view.roots:
        first = view.nodes[view.roots[0]]
        return edge.strength(by) * (target.activation / first.activation if first.activation else 1.0)
    if by == "effect":
        passed_on = (target.predicted_effect or 0.0) / target.activation if target.activation else 0.0
        return (edge.effect or 0.0) * passed_on
    return edge.share * (1.0 if math.isnan(target.share) else _size(target.share))


def strongest_edges(view: GraphView, by: str, most: int = MOST_EDGES) -> list[tuple[EdgeView, float]]:
    """The `most` strongest edges with their flow, the weakest of them first, so that the strong ones lie on top."""
    flows = ((edge, flow(view, edge, by)) for edge in view.edges)
    return sorted(flows, key=lambda pair: abs(pair[1]))[-most:]


def map_elements(view: GraphView, layout: MapLayout, by: str) -> Iterator[str]:
    """Grid, edges, marks and labels, in the order in which they cover each other."""
    yield from _grid(layout)
    edges = strongest_edges(view, by)
    largest = max((abs(size) for _, size in edges), default=1.0) or 1.0
    yield '<g class="edges">'
    for edge, size in edges:
        yield _edge(edge, view, layout, math.copysign(size / largest, edge.strength(by)))
    yield "</g>"
    top = max((_size(node.share) for node in view.nodes.values() if node.kind in ("feature", "error")), default=1.0)
    for node in view.nodes.values():
        yield _mark(node, layout, top or 1.0, node.node in view.roots)
    yield from _token_labels(view, layout)


def _grid(layout: MapLayout) -> Iterator[str]:
    for layer, row in layout.rows.items():
        band = ' class="band"' if layer % 2 else ' class="band odd"'
        yield (
            f'<rect x="{number(row.left)}" y="{number(row.top)}" width="{number(row.width)}" '
            f'height="{number(row.height)}"{band}/>'
        )
        if row.height > 10:
            yield text(row.left - 8, row.centre[1] + 3.5, f"L{layer}", "axis", "end")
    for column in layout.columns:
        line = f'x1="{number(column.left)}" x2="{number(column.left)}"'
        yield f'<line {line} y1="{number(column.top)}" y2="{number(column.top + column.height)}" class="rule"/>'


def _edge(edge: EdgeView, view: GraphView, layout: MapLayout, strength: float) -> str:
    width = max(_THINNEST, _THICKEST * math.sqrt(abs(strength)))
    kind = "neg" if strength < 0 else "pos"
    error = " err" if view.nodes[edge.source].kind == "error" else ""
    ends = f'data-s="{edge.source}" data-t="{edge.target}"'
    return f'<path d="{curve(layout, edge)}" class="e {kind}{error}" stroke-width="{width:.2f}" {ends}/>'


def curve(layout: MapLayout, edge: EdgeView) -> str:
    """A curve that leaves its source upwards and reaches its target from below."""
    (x1, y1), (x2, y2) = layout.points[edge.source], layout.points[edge.target]
    bend = max(abs(y1 - y2) * 0.45, 14.0)
    points = (x1, y1), (x1, y1 - bend), (x2, y2 + bend), (x2, y2)
    start, *rest = (f"{number(x)} {number(y)}" for x, y in points)
    return f"M{start}C{' '.join(rest)}"


def _mark(node: NodeView, layout: MapLayout, largest: float, target: bool) -> str:
    title = f"<title>{escape(_title(node))}</title>"
    shape = _box(node, layout) if node.node in layout.boxes else _shape(node, layout, largest)
    css = f"n {node.kind}" + (" target" if target else "")
    return f'<g class="{css}" data-n="{node.node}">{title}{shape}</g>'


def _title(node: NodeView) -> str:
    return token_text(node.text) if node.kind in ("token", "logit") else node.name


def _box(node: NodeView, layout: MapLayout) -> str:
    box = layout.boxes[node.node]
    size = f'width="{number(box.width)}" height="{number(box.height)}" rx="4"'
    shape = f'<rect x="{number(box.left)}" y="{number(box.top)}" {size} class="box"/>'
    if node.kind == "token":
        return shape
    x, y = box.centre
    return shape + text(x, y + 4, logit_text(node), "logit-text", "middle")


def _shape(node: NodeView, layout: MapLayout, largest: float) -> str:
    x, y = layout.points[node.node]
    part = _SIZE_OF_UNKNOWN if math.isnan(node.share) else abs(node.share) / largest
    radius = _SMALLEST_MARK + (_LARGEST_MARK - _SMALLEST_MARK) * math.sqrt(part)
    if node.kind == "error":
        r = min(radius, 4.5)
        return f'<path d="M{number(x)} {number(y - r)}l{r:.1f} {r:.1f}l{-r:.1f} {r:.1f}l{-r:.1f} {-r:.1f}z" class="m"/>'
    disc = f'<circle cx="{number(x)}" cy="{number(y)}" r="{radius:.1f}" class="m {direction(node)}"/>'
    return disc + _verdict(node, x, y, radius)


def direction(node: NodeView) -> str:
    """`pos` or `neg` as the feature's effect on the first logit (or its share), `unk` where neither is known."""
    value = node.share if node.predicted_effect is None else node.predicted_effect
    return "unk" if math.isnan(value) else "neg" if value < 0 else "pos"


def _verdict(node: NodeView, x: float, y: float, radius: float) -> str:
    """A ring where a measurement confirms, a cross where it contradicts."""
    if node.verdict == Verdict.CONFIRMED:
        return f'<circle cx="{number(x)}" cy="{number(y)}" r="{radius + 1.8:.1f}" class="ring"/>'
    if node.verdict == Verdict.CONTRADICTED:
        r = radius + 1.5
        return (
            f'<path d="M{number(x - r)} {number(y - r)}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} '
            f'{2 * r:.1f}" class="cross"/>'
        )
    return ""


def _token_labels(view: GraphView, layout: MapLayout) -> Iterator[str]:
    for token, column in zip(view.tokens, layout.columns, strict=True):
        x = column.centre[0]
        if layout.tilted:
            yield text(x + 4, layout.labels_top + 8, token_text(token), "token-text", "end", -52)
        else:
            yield text(x, layout.labels_top + 7, token_text(token), "token-text", "middle")


def _size(value: float) -> float:
    return 0.0 if math.isnan(value) else abs(value)
