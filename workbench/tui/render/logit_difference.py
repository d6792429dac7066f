"""The virtual node logit(A) − logit(B): what raises one answer over the other, source by source."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from tasks.graphs.view import NodeView
from workbench.tui.render.bars import signed, signed_bar
from workbench.tui.render.graph_tree import describe
from workbench.tui.render.tokens import fit

_BAR_CELLS = 8


def logit_difference_view(
    ends: tuple[NodeView, NodeView],
    parts: Sequence[tuple[NodeView, float, float]],
    rest: tuple[int, float],
    tokens: Sequence[str],
    width: int,
) -> Group:
    """`parts`: (source, nats it gives to A, to B), the largest difference first; `rest`: how many more, their sum."""
    names = [describe(end, tokens)[0] for end in ends]
    largest = max((abs(to_a - to_b) for _, to_a, to_b in parts), default=0.0) or 1.0
    lines = [
        Text(fit(f"{names[0]} − {names[1]}, by what is drawn", width), style="bold"),
        Text(fit(f"{'':<{_BAR_CELLS + 1}} {'A−B':>8} {'to A':>8} {'to B':>8}  (nats)", width), style="dim"),
    ]
    for node, to_a, to_b in parts:
        line = Text().append_text(signed_bar((to_a - to_b) / largest, _BAR_CELLS))
        line.append(f" {signed(to_a - to_b):>8} {signed(to_a):>8} {signed(to_b):>8}  ")
        name, about = describe(node, tokens)
        line.append(fit("  ".join(filter(None, (name, about))), max(width - line.cell_len, 1)))
        lines.append(line)
    if rest[0]:
        lines.append(Text(fit(f"{'':<{_BAR_CELLS + 1}} {signed(rest[1]):>8}  … {rest[0]} more", width), style="dim"))
    return Group(*lines)
