"""A graph as one offline page: its tree, its layer × token map, a card a node, search; it fetches nothing.

The policy in the page's head allows the one script and the one style that are in it (by hash) and nothing else; the
graph is data that no parser of HTML can mistake for markup.
"""

from __future__ import annotations

import hashlib
import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from tasks.graphs.view import GraphView, NodeView
from workbench.figures.layout import MapLayout, map_layout
from workbench.figures.map import map_elements, number
from workbench.figures.svg import score_line
from workbench.tui.render.graph_tree import describe
from workbench.tui.render.tokens import show_text, show_token
from workbench.tui.render.tree_lines import TreeLimits

_MARGIN = 14.0
_WIDEST_SCALED = 1500.0
"""Pixels up to which a map is scaled to the window; a wider one is scrolled, so that it stays readable."""
_MEANS = (
    ("share", "what a value is made of, with attention, norms and the active set frozen; the shares of a node and its "
              "constants add up to it. Per cent of everything that the node above is made of."),
    ("effect", "predicted: nats of the logit that would be lost without this feature, first order, in the real model."),
    ("real", "measured: the same, with the feature set to zero in the real model. ✓ confirmed (right sign, within a "
             "factor of two), ~ weak, ✗ contradicted (wrong sign)."),
    ("error", "what the dictionary does not reconstruct. Pruned, constants: what no kept edge carries."),
    ("keys", "arrows move and open, Enter opens, r makes a node the root, / searches, Escape clears."),
)  # fmt: skip


def graph_page(view: GraphView, supernodes: Mapping[str, Sequence[int]]) -> str:
    """The page; it works from a file, without a network, in the dark, and by keyboard."""
    layout = map_layout(view, _MARGIN)
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    title = escape(show_text(view.prompt))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{_header(view, title)}
<main>
<section id="left" aria-label="Tree">
{_columns(view)}
<div id="tree" role="tree" aria-label="The graph as a tree"></div>
</section>
<section id="right" aria-label="Map">
<div id="map"{' class="long"' if layout.width > _WIDEST_SCALED else ""}>{_map(view, layout)}</div>
<div class="lower">
<div class="card" id="card" aria-live="polite"></div>
<div class="groups" id="groups" hidden><h2>Supernodes</h2><div id="group-list"></div></div>
</div>
</section>
</main>
<script type="application/json" id="graph">{_data(view, supernodes, layout)}</script>
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return (resources.files("workbench.figures") / name).read_text("utf-8")


def _hash(content: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _header(view: GraphView, title: str) -> str:
    limits = TreeLimits()
    means = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in _MEANS)
    return f"""<header>
<h1>{title}</h1>
<p>graph {view.graph} · {escape(show_text(view.dictionary))} · {escape(score_line(view))}</p>
<details class="means"><summary>what the numbers mean</summary><dl>{means}</dl></details>
<div class="controls">
<label>root <select id="root"></select></label>
<label>depth <input id="depth" type="number" min="1" max="30" value="{limits.depth}"></label>
<label>width <input id="width" type="number" min="1" max="999" value="{limits.width}"></label>
<label>by <select id="by"><option>effect</option><option>share</option></select></label>
<label>direction <select id="direction"><option value="in">in: causes</option>\
<option value="out">out: consequences</option></select></label>
<label>search <input id="search" type="search" placeholder="feature, token, label" autocomplete="off"></label>
<button id="theme" type="button">light / dark</button>
</div>
<div id="results" role="list"></div>
</header>"""


def _columns(view: GraphView) -> str:
    measured = '<span class="real">real</span><span class="ver"></span>' if _is_measured(view) else ""
    return (
        '<div class="columns mono" aria-hidden="true"><span class="bar"></span><span class="sign"></span>'
        f'<span class="pct">share</span><span class="eff">effect</span>{measured}</div>'
    )


def _is_measured(view: GraphView) -> bool:
    return any(node.measured_effect is not None for node in view.nodes.values())


def _map(view: GraphView, layout: MapLayout) -> str:
    height = layout.height + _MARGIN
    size = f'viewBox="0 0 {number(layout.width)} {number(height)}" width="{number(layout.width)}"'
    label = f"Layers and tokens of graph {view.graph}"
    return f'<svg {size} role="img" aria-label="{label}">{"".join(map_elements(view, layout, "share"))}</svg>'


def _data(view: GraphView, supernodes: Mapping[str, Sequence[int]], layout: MapLayout) -> str:
    """The graph as JSON that holds none of the characters which could end its element."""
    group_of = {node: show_text(name) for name, members in supernodes.items() for node in members}
    document = {
        "roots": view.roots,
        "measured": _is_measured(view),
        "nodes": [_node(view, node, layout, group_of.get(node.node, "")) for node in view.nodes.values()],
        "edges": [(edge.source, edge.target, edge.share, edge.effect) for edge in view.edges],
        "groups": [[show_text(name), [node for node in members if node in view.nodes]]
                   for name, members in supernodes.items()],
    }  # fmt: skip
    plain = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _node(view: GraphView, node: NodeView, layout: MapLayout, group: str) -> dict[str, Any]:
    name, about = describe(node, view.tokens)
    promoted, fires = (" ".join(map(show_token, tokens)) for tokens in (node.promoted, node.fires_on))
    label = show_text(node.label)
    x, y = layout.points[node.node]
    return {
        "n": node.node,
        "kind": node.kind,
        "name": name,
        "about": about,
        "share": _known(node.share),
        "effect": _known(node.predicted_effect),
        "measured": _known(node.measured_effect),
        "verdict": str(node.verdict),
        "activation": _known(node.activation),
        "label": label,
        "promoted": promoted,
        "fires": fires,
        "group": group,
        "words": " ".join((name, label, promoted, fires, group)).lower(),
        "x": round(x, 1),
        "y": round(y, 1),
    }


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
