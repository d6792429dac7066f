"""A graph as one printable SVG: heading, layer × token map, legend, and a key to its strongest features.

No scripts and nothing from outside; every text of a model or a person is inert.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from rich.cells import cell_len

from tasks.graphs.view import GraphView, NodeView, Verdict
from workbench.figures.layout import CHARACTER, LEFT, RIGHT, MapLayout, map_layout
from workbench.figures.map import MOST_EDGES, direction, map_elements, number, strongest_edges, text
from workbench.tui.render.bars import number as shown_number
from workbench.tui.render.bars import percent, sign, signed
from workbench.tui.render.graph_tree import describe
from workbench.tui.render.tokens import fit, show_text
from workbench.tui.render.tree_lines import VERDICT_GLYPH

_HEADING = 74.0
_KEY_ROWS = 12
_KEY_PITCH = 17.0
_STYLE = """
text{font-family:system-ui,'Segoe UI','DejaVu Sans',sans-serif;font-size:11px;fill:#1c2430}
.title{font-size:16px;font-weight:600}.sub{fill:#5a6675}.axis{font-size:9.5px;fill:#7b8794}
.token-text{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:11px}
.logit-text{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:10.5px;font-weight:600}
.mono{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:10.5px}
.head{font-size:9.5px;fill:#7b8794}
.band{fill:#f5f7f9}.odd{fill:#fff}.rule{stroke:#e3e8ed;stroke-width:.6}
.e{fill:none;stroke-linecap:round;opacity:.42}.e.pos{stroke:#1b6b8f}.e.neg{stroke:#c2491d;stroke-dasharray:5 3}
.e.err{opacity:.16}
.m{stroke-width:1.3}.m.pos{fill:#1b6b8f;stroke:#fff}.m.neg{fill:#fff;stroke:#c2491d}
.m.unk{fill:#8592a0;stroke:#fff}
.error .m{fill:#c7ced6;stroke:#fff;stroke-width:.6}
.ring{fill:none;stroke:#1c2430;stroke-width:.9}.cross{fill:none;stroke:#1c2430;stroke-width:1.1}
.box{fill:#fff;stroke:#9aa7b4;stroke-width:.8}.logit .box{fill:#fdf6e3;stroke:#b58900}.token .box{fill:#eef2f6}
.tag{font-size:8.5px;font-weight:700;paint-order:stroke;stroke:#fff;stroke-width:2.6px;stroke-linejoin:round}
"""


def graph_figure(view: GraphView, by: str = "share") -> str:
    """The figure; edges as wide as their share (of everything their target is made of) or effect."""
    layout = map_layout(view, _HEADING)
    key = _strongest(view)
    legend_top = layout.height + 14
    height = legend_top + 46 + (len(key) + 1) * _KEY_PITCH * bool(key) + 14
    width = layout.width
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" '
        f'width="{number(width)}" height="{number(height)}" role="img">',
        f"<title>{escape(show_text(view.prompt))}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{number(width)}" height="{number(height)}" fill="#fff"/>',
        *_heading(view, width),
        *map_elements(view, layout, by),
        *_tags(key, layout),
        *_legend(view, legend_top, by),
        *_key(view, key, legend_top + 50, width),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def score_line(view: GraphView) -> str:
    """Scores and sizes in one line; what is not known is a dash."""
    closing = "–" if math.isnan(view.closing_error) else f"{view.closing_error:.1e}"
    return (
        f"replacement {shown_number(view.replacement_score)} · completeness {shown_number(view.completeness_score)}"
        f" · closing error {closing} · {len(view.nodes)} nodes · {len(view.edges)} edges"
    )


def _heading(view: GraphView, width: float) -> Iterator[str]:
    room = int((width - 40) / (CHARACTER * 1.45))
    yield text(LEFT - 26, 26, fit(show_text(view.prompt), room), "title")
    dictionary = fit(show_text(view.dictionary), 60)
    yield text(LEFT - 26, 45, f"graph {view.graph} · {dictionary} · {score_line(view)}", "sub")


def _strongest(view: GraphView) -> list[NodeView]:
    """The features that the key names."""
    features = [node for node in view.nodes.values() if node.kind == "feature" and node.node not in view.roots]
    return sorted(features, key=lambda node: -_strength(node))[:_KEY_ROWS]


def _strength(node: NodeView) -> float:
    value = node.share if node.predicted_effect is None else node.predicted_effect
    return 0.0 if math.isnan(value) else abs(value)


def _tags(key: list[NodeView], layout: MapLayout) -> Iterator[str]:
    """The number of each feature of the key, at its mark."""
    for place, node in enumerate(key, start=1):
        x, y = layout.points[node.node]
        yield text(x + 4.5, y - 4.5, str(place), "tag")


def _legend(view: GraphView, top: float, by: str) -> Iterator[str]:
    drawn = len(strongest_edges(view, by))
    edges = f"the {drawn} strongest of {len(view.edges)} edges" if len(view.edges) > MOST_EDGES else f"{drawn} edges"
    x, y = LEFT - 26, top + 8
    items = (
        (f'<circle cx="{x + 5}" cy="{y - 4}" r="5" class="m pos"/>', "feature, raises the logit"),
        ('<circle cx="{x}" cy="{y}" r="5" class="m neg"/>', "feature, lowers it"),
        ('<circle cx="{x}" cy="{y}" r="5" class="m unk"/>', "feature, direction unknown"),
        ('<g class="error"><path d="M{x} {y0}l4.5 4.5l-4.5 4.5l-4.5 -4.5z" class="m"/></g>', "error"),
        ('<circle cx="{x}" cy="{y}" r="3.5" class="m pos"/><circle cx="{x}" cy="{y}" r="6" class="ring"/>',
         "confirmed by ablation"),
        ('<circle cx="{x}" cy="{y}" r="3.5" class="m pos"/><path d="M{xl} {yl}l10 10m0 -10l-10 10" class="cross"/>',
         "contradicted"),
        ('<line x1="{xw}" y1="{y}" x2="{x}" y2="{y}" class="e pos" stroke-width="3"/>', "positive"),
        ('<line x1="{xw}" y1="{y}" x2="{x}" y2="{y}" class="e neg" stroke-width="3"/>', "negative"),
    )  # fmt: skip
    unknown = any(direction(node) == "unk" for node in view.nodes.values() if node.kind == "feature")
    for shape, words in items:
        if "unk" in shape and not unknown:
            continue
        wide = "<line" in shape
        at = x + (24 if wide else 5)
        yield shape.format(x=at, y=y - 4, y0=y - 8.5, xl=at - 5, yl=y - 9, xw=at - 22)
        yield text(at + 11, y, words, "sub")
        x = at + 11 + cell_len(words) * 6.1 + 14
    units = "part of the first logit that passes along it" if by == "share" else "nats of the first logit along it"
    said = f"{edges} drawn; width: {units}; sign: of the edge; size of a mark: its share of the first logit"
    yield text(LEFT - 26, y + 19, said, "sub")


def _key(view: GraphView, key: list[NodeView], top: float, width: float) -> Iterator[str]:
    """The strongest features with their numbers and words."""
    if not key:
        return
    columns = (LEFT - 26, LEFT + 4, LEFT + 235, LEFT + 305, LEFT + 385, LEFT + 410)
    names = ("", "strongest features", "share", "effect", "measured", "")
    anchors = ("start", "start", "end", "end", "end", "start")
    for x, name, anchor in zip(columns, names, anchors, strict=True):
        yield text(x, top, name, "head", anchor)
    size = _target_size(view)
    room = int((width - columns[-1] - RIGHT) / CHARACTER)
    for place, node in enumerate(key, start=1):
        name, about = describe(node, view.tokens)
        y = top + place * _KEY_PITCH
        glyph = VERDICT_GLYPH[node.verdict] if node.verdict != Verdict.UNTESTED else ""
        share = signed(node.share) if size is None else sign(node.share) + percent(abs(node.share) / size)
        measured = f"{signed(node.measured_effect)} {glyph}".strip()
        cells = (str(place), fit(name, 24), share, signed(node.predicted_effect), measured, fit(about, room))
        for x, cell, anchor in zip(columns, cells, anchors, strict=True):
            yield text(x, y, cell, "mono", anchor)


def _target_size(view: GraphView) -> float | None:
    """The decisive logit's value in nats, of which a share is a part; None where it is not known."""
    value = view.nodes[view.roots[0]].share
    return None if math.isnan(value) or value == 0 else abs(value)
