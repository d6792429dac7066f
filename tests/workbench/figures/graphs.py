"""Views for the figures' tests: hostile texts everywhere, and many nodes."""

from __future__ import annotations

import random

from tasks.graphs.view import EdgeView, GraphView, NodeView, Verdict

HOSTILE = "</script><img src=x onerror=alert(1)>\"'& \u202egnp.exe \x1b]52;c;AAAA\x07 \x00\ud800 <!-- ]]> {{7*7}}"
"""Ends elements, runs handlers, turns the reading direction, writes clipboards, is no text at all."""


def hostile_graph() -> GraphView:
    """One graph in which every text is hostile."""
    nodes = {
        0: NodeView(
            0, "feature", 3, 1, 9, 1.5, 0.5, 0.4, -0.1, Verdict.CONTRADICTED, label=HOSTILE, promoted=(HOSTILE,)
        ),
        1: NodeView(1, "feature", 4, 1, 7, 1.5, -0.2, None, promoted=(HOSTILE, "b"), fires_on=(HOSTILE,)),
        2: NodeView(2, "error", 2, 0, -1, 0.0, 0.1),
        3: NodeView(3, "token", -1, 0, 5, 0.0, 0.1, text=HOSTILE),
        4: NodeView(4, "token", -1, 1, 6, 0.0, 0.3, text="b"),
        5: NodeView(5, "logit", 5, 1, 8, 0.5, 2.0, text=HOSTILE, rival=HOSTILE),
    }
    edges = (
        EdgeView(0, 5, 0.5, 0.4),
        EdgeView(1, 5, -0.3),
        EdgeView(2, 0, 0.2),
        EdgeView(4, 0, 0.3),
        EdgeView(3, 1, 0.9),
    )
    return GraphView(1, HOSTILE, (HOSTILE, "b"), HOSTILE, nodes, edges, (5,), 1e-7, 0.6, 0.8)


def random_graph(count: int, n_tokens: int = 11, n_layers: int = 24, seed: int = 0) -> GraphView:
    """`count` features between tokens and two logits, some measured, with errors; edges climb."""
    draw = random.Random(seed)
    words = ("The", " capital", " of", " the", " state", " containing", " Dallas", " 東京", " is")
    tokens = tuple(words[i % len(words)] for i in range(n_tokens))
    nodes: dict[int, NodeView] = {}
    for node in range(count):
        at, layer = min(n_tokens - 1, int(draw.paretovariate(0.9)) - 1), draw.randrange(n_layers)
        effect = draw.gauss(0, 0.3)
        measured = effect * draw.choice((1.02, 0.3, -0.8)) if node % 3 else None
        verdict = Verdict.UNTESTED if measured is None else draw.choice(list(Verdict)[:3])
        label = f"places in the south, group {node}" if node % 5 == 0 else ""
        nodes[node] = NodeView(node, "feature", layer, n_tokens - 1 - at, draw.randrange(16384), abs(draw.gauss(0, 3)),
                               draw.gauss(0, 0.2), effect, measured, verdict, label=label,
                               promoted=(" Austin", " Texas"), fires_on=(" Dallas",))  # fmt: skip
    top = count
    for layer in range(0, n_layers, 4):
        nodes[top] = NodeView(top, "error", layer, n_tokens - 1, -1, 0.0, draw.gauss(0, 0.1))
        top += 1
    for position, token in enumerate(tokens):
        nodes[top] = NodeView(top, "token", -1, position, position, 0.0, draw.gauss(0, 0.1), text=token)
        top += 1
    roots = (top, top + 1)
    nodes[top] = NodeView(top, "logit", n_layers, n_tokens - 1, 5, 0.4, 3.0, text=" Austin")
    nodes[top + 1] = NodeView(top + 1, "logit", n_layers, n_tokens - 1, 6, 0.2, 2.0, text=" Houston")
    return GraphView(7, "The capital of the state containing Dallas is", tokens, "toy", nodes,
                     tuple(_edges(draw, nodes)), roots, 2e-7, 0.61, 0.83)  # fmt: skip


def _edges(draw: random.Random, nodes: dict[int, NodeView]) -> list[EdgeView]:
    edges = []
    for target in nodes.values():
        if target.kind not in ("feature", "logit"):
            continue
        below = [n.node for n in nodes.values() if n.layer < target.layer and n.position <= target.position]
        for source in draw.sample(below, min(len(below), 12)):
            edges.append(EdgeView(source, target.node, draw.gauss(0, 0.08), draw.gauss(0, 0.1)))
    return edges
