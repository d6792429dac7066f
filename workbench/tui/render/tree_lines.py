"""The lines of a graph's tree: who stands under whom, what is counted instead of shown, what points back.

Which nodes are open is the caller's: to a depth (the command line), or as a person opened them (the app).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tasks.graphs.view import Children, EdgeView, NodeView, TreeSource, Verdict
from workbench.tui.render.bars import percent

VERDICT_GLYPH = {Verdict.CONFIRMED: "✓", Verdict.WEAK: "~", Verdict.CONTRADICTED: "✗", Verdict.UNTESTED: " "}
_EDGE_GLYPH = VERDICT_GLYPH | {Verdict.UNTESTED: "─"}
_VISIBLE_SHARE = 5e-4
Path = tuple[int, ...]
"""The nodes from a root of the tree down to a line."""


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
    """The node stands open elsewhere in the tree."""
    path: Path = ()
    """To the node; for a line of words, to the node that it belongs to."""
    more: bool = False
    """It counts weaker edges that could be shown."""
    edge: EdgeView | None = None


class Opening(Protocol):
    """Which nodes stand open, and how wide."""

    @property
    def by(self) -> str:
        """What ranks children: effect or share."""

    @property
    def direction(self) -> str:
        """in: causes. out: consequences."""

    def opens(self, path: Path) -> bool:
        """Whether the node at the end of `path`, which leads on, stands open there. Asked from the top down."""

    def seen(self, path: Path) -> bool:
        """Whether it stands open at another place."""

    def width(self, node: int) -> int:
        """How many children it shows."""

    def always(self, node: int) -> Collection[int]:
        """Children that it shows whatever their rank."""


@dataclass
class ByDepth:
    """Everything down to a depth, each node where it is first met."""

    limits: TreeLimits
    _opened: set[int] = field(default_factory=set)

    @property
    def by(self) -> str:
        """As the limits say."""
        return self.limits.by

    @property
    def direction(self) -> str:
        """As the limits say."""
        return self.limits.direction

    def opens(self, path: Path) -> bool:
        """Down to the depth, once."""
        if len(path) > self.limits.depth or path[-1] in self._opened:
            return False
        self._opened.add(path[-1])
        return True

    def seen(self, path: Path) -> bool:
        """What has been opened further up."""
        return path[-1] in self._opened

    def width(self, node: int) -> int:
        """The same for all."""
        return self.limits.width

    def always(self, node: int) -> Collection[int]:
        """Rank alone counts."""
        return ()


def opened_lines(source: TreeSource, roots: Sequence[int], opening: Opening) -> list[TreeLine]:
    """The lines of the tree from `roots`, each kind's strongest first; each node is open once at most."""
    lines = []
    for root in roots:
        opens = opening.opens((root,))
        words = "" if opens else _closed_words(source, root, opening)
        lines.append(TreeLine("", source.nodes[root], None, words, path=(root,)))
        if opens:
            lines.extend(_below(source, (root,), "", opening))
    return lines


def tree_lines(source: TreeSource, root: int, limits: TreeLimits) -> list[TreeLine]:
    """The tree from `root`, opened to a depth; each node is opened once, where it is first met."""
    return opened_lines(source, [root], ByDepth(limits))


def _below(source: TreeSource, path: Path, indent: str, opening: Opening) -> Iterator[TreeLine]:
    node, inwards = path[-1], opening.direction == "in"
    found = source.children(node, opening.direction, opening.by, opening.width(node), opening.always(node))
    tail = [*_tail_lines(found), *(_not_kept(found) if inwards else [])]
    for index, edge in enumerate(found.shown):
        last = index == len(found.shown) - 1 and not tail
        child = source.nodes[edge.source if inwards else edge.target]
        here = (*path, child.node)
        leads_on = source.degree(child.node, opening.direction) > 0
        seen = leads_on and opening.seen(here)
        opens = leads_on and not seen and opening.opens(here)
        words = "" if opens or seen else _closed_words(source, child.node, opening)
        guides = indent + ("└" if last else "├") + _EDGE_GLYPH[edge.verdict] + " "
        yield TreeLine(guides, child, edge.share, words, seen, here, edge=edge)
        if opens:
            yield from _below(source, here, indent + ("   " if last else "│  "), opening)
    for index, (words, share, more) in enumerate(tail):
        guides = indent + ("└─ " if index == len(tail) - 1 else "├─ ")
        yield TreeLine(guides, None, share, words, path=path, more=more)


def _tail_lines(found: Children) -> list[tuple[str, float | None, bool]]:
    tail: list[tuple[str, float | None, bool]] = []
    if found.n_hidden:
        tail.append((f"… {found.n_hidden} weaker, {percent(found.hidden_mass)}", None, True))
    if found.n_errors:
        count = "1 error node" if found.n_errors == 1 else f"{found.n_errors} error nodes"
        tail.append((f"error: {percent(found.error_mass)} in {count}", found.error_share, False))
    return tail


def _not_kept(found: Children) -> list[tuple[str, float | None, bool]]:
    """What pruning took from a node's inputs, with its constants: the part of its size that no kept edge carries."""
    missing = 1 - found.mass
    if not found.total or missing < _VISIBLE_SHARE:
        return []
    return [(f"pruned, constants: {percent(missing)}", None, False)]


def _closed_words(source: TreeSource, node: int, opening: Opening) -> str:
    count = source.degree(node, opening.direction)
    return f"… {count} below" if count else ""
