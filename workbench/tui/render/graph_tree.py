"""A pruned attribution graph as a tree from any node, so that a circuit can be read in a terminal.

Numbers stand in columns on the left, the tree on the right. A node met again points back; what the width cuts off is
counted; the error mass of every opened node has a line of its own, however weak, and so has what pruning took.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from tasks.graphs.view import GraphView, NodeView, Verdict
from workbench.tui.render.bars import percent, signed, signed_bar
from workbench.tui.render.features import about
from workbench.tui.render.tokens import fit, show_text, show_token
from workbench.tui.render.tree_lines import VERDICT_GLYPH, TreeLimits, TreeLine, tree_lines

_BAR_CELLS = 5


def graph_tree(view: GraphView, limits: TreeLimits, width: int, root: int | None = None) -> Text:
    """The whole tree as text of at most `width` cells a line, under a heading that names prompt and scores."""
    start = view.roots[0] if root is None else root
    measured = has_measured(view)
    body = [tree_row(line, view.tokens, width, measured) for line in tree_lines(view, start, limits)]
    return Text("\n").join([*_heading(view, width), *body])


def tree_row(line: TreeLine, tokens: Sequence[str], width: int, measured: bool, marks: str = "") -> Text:
    """`+███▏   41.2 %  +1.234 +1.198 ✓ ├─ L12/345@7 ·Paris  label` in at most `width` cells.

    `measured` says whether there is a column for measured effects; `marks` stand before the tree.
    """
    row = _numbers(line, measured)
    row.append(marks)
    row.append(line.guides, style="dim")
    room = max(width - cell_len(row.plain), 8)
    if line.node is None:
        row.append(fit(line.words, room), style="dim")
        return row
    name, about = describe(line.node, tokens)
    if line.seen:
        name, about = "↩ see " + name, ""
    row.append(fit(name, room), style="bold" if not line.guides else "")
    about = "  ".join(filter(None, (about, line.words)))
    room -= cell_len(name) + 2
    if about and room >= 4:
        row.append("  " + fit(about, room), style="dim")
    return row


def _numbers(line: TreeLine, measured: bool) -> Text:
    numbers = Text(" " * (_BAR_CELLS + 9) if line.share is None else "")
    if line.share is not None:  # the bar's colour is the bar's alone
        numbers.append_text(signed_bar(line.share, _BAR_CELLS)).append(f" {percent(abs(line.share)):>7}")
    feature = line.node if line.node is not None and line.node.kind in ("feature", "supernode") else None
    numbers.append(f" {signed(feature.predicted_effect) if feature else '':>7}")
    if measured:
        effect = signed(feature.measured_effect) if feature else ""
        numbers.append(f" {effect:>7} {VERDICT_GLYPH[feature.verdict] if feature else ' '}")
    return numbers.append(" ")


def columns_words(measured: bool, marks: int = 0) -> str:
    """What stands over the columns of `tree_row`, with their units; `marks` are the cells of its marks."""
    columns = f"{'share':<{_BAR_CELLS + 9}} {'effect':>7}" + (f" {'real':>7}  " if measured else "")
    return f"{columns} {' ' * marks}(of the node above; nats of the logit)"


def describe(node: NodeView, tokens: Sequence[str]) -> tuple[str, str]:
    """The node's name with its token, and what is known about it."""
    if node.kind == "logit":
        rival = f" − {show_token(node.rival)}" if node.rival else ""
        return f"logit {show_token(node.text)}{rival}", f"p {node.activation:.3f}"
    if node.members:
        return f"[{show_text(node.name)}]", f"{len(node.members)}: {show_text(' '.join(node.members))}"
    here = show_token(tokens[node.position]) if 0 <= node.position < len(tokens) else ""
    if node.kind == "token":
        return f"token {here} {node.name}", ""
    if node.kind == "error":
        return f"error {node.name} {here}", ""
    return f"{node.name} {here}", show_text(node.label) if node.label else about(node.fires_on, node.promoted)


def _heading(view: GraphView, width: int) -> list[Text]:
    closing = "–" if math.isnan(view.closing_error) else f"{view.closing_error:.1e}"
    scores = (
        f"replacement {view.replacement_score:.3f}  completeness {view.completeness_score:.3f}  closing error {closing}"
    )
    measured = has_measured(view)
    return [
        Text(fit(f"graph {view.graph}  {show_text(view.prompt)}", width), style="bold"),
        Text(fit(f"{show_text(view.dictionary)}  {len(view.nodes)} nodes  {len(view.edges)} edges", width)),
        Text(fit(scores, width)),
        Text(fit(columns_words(measured), width), style="dim"),
        *_edge_key(view, width),
    ]


def has_measured(view: GraphView) -> bool:
    """Whether anything was measured on the graph's features."""
    return any(node.measured_effect is not None for node in view.nodes.values())


def _edge_key(view: GraphView, width: int) -> list[Text]:
    """What the marks in the guides mean, where edges were tested."""
    tested = [edge for edge in view.edges if edge.verdict != Verdict.UNTESTED]
    if not tested:
        return []
    n_confirmed = sum(edge.verdict == Verdict.CONFIRMED for edge in tested)
    words = f"├✓ ├~ ├✗: the edge measured, all else held ({n_confirmed} of {len(tested)} confirmed)"
    return [Text(fit(words, width), style="dim")]
