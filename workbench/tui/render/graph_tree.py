"""A pruned attribution graph as a tree from any node, so that a circuit can be read in a terminal.

Numbers stand in columns on the left, the tree on the right. A node met again points back; what the width cuts off is
counted; the error mass of every opened node has a line of its own, however weak, and so has what pruning took.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from tasks.graphs.view import EdgeView, GraphView, NodeView, Verdict
from workbench.tui.render.bars import percent, signed, signed_bar
from workbench.tui.render.features import about
from workbench.tui.render.tokens import fit, show_text, show_token

VERDICT_GLYPH = {Verdict.CONFIRMED: "✓", Verdict.WEAK: "~", Verdict.CONTRADICTED: "✗", Verdict.UNTESTED: " "}
_EDGE_GLYPH = VERDICT_GLYPH | {Verdict.UNTESTED: "─"}
_BAR_CELLS = 5
_TOKENS_SHOWN = 2
"""Tokens that a node shows beside its features, however many those are."""
_VISIBLE_SHARE = 5e-4


@dataclass(frozen=True)
class TreeLimits:
    """How much of the graph is opened: levels below the root, children a node, and what ranks them."""

    depth: int = 3
    width: int = 6
    by: str = "effect"
    """`effect` (what removing it does, where known) or `share` (what the target is made of)."""
    direction: str = "in"
    """`in` follows causes towards the tokens, `out` consequences towards the logits."""


@dataclass(frozen=True)
class TreeLine:
    """One line: the guides before it, the edge it came along, and the node or the words it shows."""

    guides: str
    node: NodeView | None
    share: float | None
    words: str = ""
    seen: bool = False


def tree_lines(view: GraphView, root: int, limits: TreeLimits) -> list[TreeLine]:
    """The lines of the tree from `root`, strongest first; each node is opened once, where it is first met."""
    lines = [TreeLine("", view.nodes[root], None)]
    lines.extend(_below(view, root, "", 1, limits, {root}))
    return lines


def graph_tree(view: GraphView, limits: TreeLimits, width: int, root: int | None = None) -> Text:
    """The whole tree as text of at most `width` cells a line, under a heading that names prompt and scores."""
    start = view.roots[0] if root is None else root
    body = [_row(line, view, width) for line in tree_lines(view, start, limits)]
    return Text("\n").join([*_heading(view, width), *body])


def _below(
    view: GraphView, node: int, indent: str, level: int, limits: TreeLimits, opened: set[int]
) -> Iterator[TreeLine]:
    shown, hidden, errors = _ranked(view, node, limits)
    tail = [*_tail_lines(hidden, errors), *_not_kept([*shown, *hidden, *errors], limits)]
    for index, edge in enumerate(shown):
        last = index == len(shown) - 1 and not tail
        child = view.nodes[_other(edge, limits)]
        seen = child.node in opened and bool(view.edges_at(child.node, limits.direction))
        guides = indent + ("└" if last else "├") + _EDGE_GLYPH[edge.verdict] + " "
        opens = not seen and level < limits.depth
        words = "" if opens or seen else _closed_words(view, child.node, limits)
        yield TreeLine(guides, child, edge.share, words, seen)
        if opens:
            opened.add(child.node)
            yield from _below(view, child.node, indent + ("   " if last else "│  "), level + 1, limits, opened)
    for index, (words, share) in enumerate(tail):
        yield TreeLine(indent + ("└─ " if index == len(tail) - 1 else "├─ "), None, share, words)


def _ranked(view: GraphView, node: int, limits: TreeLimits) -> tuple[list[EdgeView], list[EdgeView], list[EdgeView]]:
    """The edges at `node`: those shown (features, then a few tokens), the weaker rest, and those of error nodes."""
    edges = sorted(view.edges_at(node, limits.direction), key=lambda edge: -_strength(view, edge, limits))
    by_kind: dict[str, list[EdgeView]] = {"token": [], "error": [], "other": []}
    for edge in edges:
        kind = view.nodes[_other(edge, limits)].kind
        by_kind[kind if kind in by_kind else "other"].append(edge)
    others, tokens = by_kind["other"], by_kind["token"]
    n_tokens = max(_TOKENS_SHOWN, limits.width - len(others))
    shown = [*others[: limits.width], *tokens[:n_tokens]]
    hidden = [*others[limits.width :], *tokens[n_tokens:]]
    if len(hidden) == 1:  # a line that says "1 weaker" could as well be that one
        shown, hidden = [*shown, *hidden], []
    return shown, hidden, by_kind["error"]


def _strength(view: GraphView, edge: EdgeView, limits: TreeLimits) -> float:
    """What ranks an edge among those of its kind: the size of the effect that its line prints, or of its share."""
    effect = view.nodes[_other(edge, limits)].predicted_effect if limits.by == "effect" else None
    return abs(edge.share if effect is None else effect)


def _other(edge: EdgeView, limits: TreeLimits) -> int:
    return edge.source if limits.direction == "in" else edge.target


def _tail_lines(hidden: list[EdgeView], errors: list[EdgeView]) -> list[tuple[str, float | None]]:
    tail: list[tuple[str, float | None]] = []
    if hidden:
        mass = sum(abs(edge.share) for edge in hidden)
        tail.append((f"… {len(hidden)} weaker, {percent(mass)}", None))
    if errors:
        mass = sum(abs(edge.share) for edge in errors)
        count = "1 error node" if len(errors) == 1 else f"{len(errors)} error nodes"
        tail.append((f"error: {percent(mass)} in {count}", sum(edge.share for edge in errors)))
    return tail


def _not_kept(edges: list[EdgeView], limits: TreeLimits) -> list[tuple[str, float | None]]:
    """What pruning took from a node's inputs, with its constants: the part of its size that no kept edge carries."""
    mass = 1 - sum(abs(edge.share) for edge in edges)
    if limits.direction != "in" or not edges or mass < _VISIBLE_SHARE:
        return []
    return [(f"pruned, constants: {percent(mass)}", None)]


def _closed_words(view: GraphView, node: int, limits: TreeLimits) -> str:
    count = len(view.edges_at(node, limits.direction))
    return f"… {count} below" if count else ""


def _row(line: TreeLine, view: GraphView, width: int) -> Text:
    """`+███▏   41.2 %  +1.234 +1.198 ✓ ├─ L12/345@7 ·Paris  label` in at most `width` cells."""
    row = _numbers(line, any(node.measured_effect is not None for node in view.nodes.values()))
    row.append(line.guides, style="dim")
    room = max(width - cell_len(row.plain), 8)
    if line.node is None:
        row.append(fit(line.words, room), style="dim")
        return row
    name, about = describe(line.node, view)
    if line.seen:
        name, about = "↩ see " + name, ""
    row.append(fit(name, room), style="bold" if not line.guides else "")
    about = "  ".join(filter(None, (about, line.words)))
    room -= cell_len(name) + 2
    if about and room >= 4:
        row.append("  " + fit(about, room), style="dim")
    return row


def _numbers(line: TreeLine, measured: bool) -> Text:
    if line.share is None:
        numbers = Text(" " * (_BAR_CELLS + 9))
    else:
        numbers = signed_bar(line.share, _BAR_CELLS).append(f" {percent(abs(line.share)):>7}")
    feature = line.node if line.node is not None and line.node.kind in ("feature", "supernode") else None
    numbers.append(f" {signed(feature.predicted_effect) if feature else '':>7}")
    if measured:
        effect = signed(feature.measured_effect) if feature else ""
        numbers.append(f" {effect:>7} {VERDICT_GLYPH[feature.verdict] if feature else ' '}")
    return numbers.append(" ")


def describe(node: NodeView, view: GraphView) -> tuple[str, str]:
    """The node's name with its token, and what is known about it."""
    if node.kind == "logit":
        rival = f" − {show_token(node.rival)}" if node.rival else ""
        return f"logit {show_token(node.text)}{rival}", f"p {node.activation:.3f}"
    if node.members:
        return f"[{show_text(node.name)}]", f"{len(node.members)}: {show_text(' '.join(node.members))}"
    here = show_token(view.tokens[node.position]) if 0 <= node.position < len(view.tokens) else ""
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
    measured = any(node.measured_effect is not None for node in view.nodes.values())
    columns = f"{'share':<{_BAR_CELLS + 9}} {'effect':>7}" + (f" {'real':>7}  " if measured else "")
    return [
        Text(fit(f"graph {view.graph}  {show_text(view.prompt)}", width), style="bold"),
        Text(fit(f"{show_text(view.dictionary)}  {len(view.nodes)} nodes  {len(view.edges)} edges", width)),
        Text(fit(scores, width)),
        Text(fit(f"{columns} (of the node above; nats of the logit)", width), style="dim"),
        *_edge_key(view, width),
    ]


def _edge_key(view: GraphView, width: int) -> list[Text]:
    """What the marks in the guides mean, where edges were tested."""
    tested = [edge for edge in view.edges if edge.verdict != Verdict.UNTESTED]
    if not tested:
        return []
    n_confirmed = sum(edge.verdict == Verdict.CONFIRMED for edge in tested)
    words = f"├✓ ├~ ├✗: the edge measured, all else held ({n_confirmed} of {len(tested)} confirmed)"
    return [Text(fit(words, width), style="dim")]
