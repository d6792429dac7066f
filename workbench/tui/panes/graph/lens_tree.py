"""The tree that a person opens by hand: its roots, what stands open, and the line of each node, as a list's lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rich.text import Text

from tasks.graphs.lens import Lens
from tasks.graphs.view import NodeView
from workbench.tui.render.graph_tree import tree_row
from workbench.tui.render.tree_lines import Path, TreeLine, opened_lines

CHILDREN, MORE_CHILDREN = 12, 25
"""How many a node shows when it is opened, and how many come with each `… weaker`."""
MARK_CELLS = 3
PINNED, SELECTED = "◆", "●"


@dataclass(frozen=True)
class Look:
    """How a tree is looked at: what a person comes back to."""

    roots: tuple[int, ...] = ()
    """Empty: what the graph explains."""
    direction: str = "in"
    by: str = "effect"
    opened: Mapping[int, Path] = field(default_factory=dict)
    """Node -> the place at which it stands open."""
    widths: Mapping[int, int] = field(default_factory=dict)
    forced: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Node -> children that it shows whatever their rank."""

    def document(self) -> dict[str, Any]:
        """As JSON; its keys are strings."""
        parts = {"opened": self.opened, "widths": self.widths, "forced": self.forced}
        mappings = {
            name: {str(node): list(v) if isinstance(v, tuple) else v for node, v in part.items()}
            for name, part in parts.items()
        }
        return {"roots": list(self.roots), "direction": self.direction, "by": self.by, **mappings}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Look:
        """Of a stored document; the look of a graph just opened where it does not fit."""
        try:
            return cls(
                roots=tuple(map(int, document.get("roots", ()))),
                direction="out" if document.get("direction") == "out" else "in",
                by="share" if document.get("by") == "share" else "effect",
                opened={int(n): tuple(map(int, path)) for n, path in document.get("opened", {}).items()},
                widths={int(n): int(width) for n, width in document.get("widths", {}).items()},
                forced={int(n): tuple(map(int, nodes)) for n, nodes in document.get("forced", {}).items()},
            )
        except (TypeError, ValueError, AttributeError):
            return cls()


class LensTree:
    """The lines of one look at one lens. Changing the look makes them anew; so does another lens."""

    def __init__(self, lens: Lens, look: Look | None = None) -> None:
        """Of a graph just opened, unless `look` says otherwise."""
        self.lens = lens
        self.look = Look() if look is None else look
        self.pinned: Collection[int] = ()
        self.selected: Collection[int] = ()
        self.lines: list[TreeLine] = []
        self.rebuild()

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self.lines)

    def line(self, index: int, width: int) -> Text:
        """One line; pinned and selected nodes have a mark."""
        line = self.lines[index]
        marks = " " * MARK_CELLS
        if line.node is not None:
            marks = (PINNED if line.node.node in self.pinned else " ") + (
                SELECTED if line.node.node in self.selected else " "
            )
            marks = marks.ljust(MARK_CELLS)
        return tree_row(line, self.lens.graph.tokens, width, self.lens.graph.has_measured, marks)

    # What `Opening` asks.

    @property
    def by(self) -> str:
        """What ranks children."""
        return self.look.by

    @property
    def direction(self) -> str:
        """in: causes. out: consequences."""
        return self.look.direction

    def opens(self, path: Path) -> bool:
        """Where a person opened it."""
        return self.look.opened.get(path[-1]) == path

    def seen(self, path: Path) -> bool:
        """Open at another place that is on the screen."""
        place = self.look.opened.get(path[-1], path)
        return place != path and self._reaches(place)

    def width(self, node: int) -> int:
        """More where a person asked for more."""
        return self.look.widths.get(node, CHILDREN)

    def always(self, node: int) -> Collection[int]:
        """What a person was led to."""
        return self.look.forced.get(node, ())

    def _reaches(self, place: Path) -> bool:
        """Whether everything above a place is open there, so that it can be seen."""
        return place[0] in self.roots and all(
            self.look.opened.get(node) == place[: depth + 1] for depth, node in enumerate(place[:-1])
        )

    # What changes the lines.

    @property
    def roots(self) -> tuple[int, ...]:
        """The nodes at the top: those of the look that are drawn, or what the graph explains."""
        chosen = tuple(node for node in self.look.roots if node in self.lens.nodes)
        return chosen or tuple(node for node in self.lens.graph.roots if node in self.lens.nodes)

    def rebuild(self) -> None:
        """Make the lines anew; a tree in which nothing is open begins with its first root open."""
        roots = self.roots
        if not self.look.opened and roots:
            self.look = replace(self.look, opened={roots[0]: (roots[0],)})
        self.lines = opened_lines(self.lens, roots, self)

    def see(self, **changes: Any) -> None:
        """Change the look."""
        self.look = replace(self.look, **changes)
        self.rebuild()

    def open(self, path: Path) -> None:
        """Open a node here; it closes where it was open."""
        self.see(opened={**self.look.opened, path[-1]: path})

    def close(self, path: Path) -> None:
        """Close a node."""
        self.look = replace(self.look, opened={n: place for n, place in self.look.opened.items() if n != path[-1]})
        self.lines = opened_lines(self.lens, self.roots, self)

    def show_more(self, node: int) -> None:
        """Show more children of a node."""
        self.see(widths={**self.look.widths, node: self.width(node) + MORE_CHILDREN})

    def root_at(self, roots: tuple[int, ...], direction: str | None = None) -> None:
        """Read from other nodes; empty: from what the graph explains."""
        self.see(roots=roots, direction=direction or self.look.direction, opened={})

    def reveal(self, node: int) -> int:
        """Open the way from a root to a node along its strongest edges, and return its line; -1 if there is no way."""
        if node not in self.lens.nodes:
            return -1
        if (index := self.index_of_node(node)) >= 0:
            return index
        route = self.lens.strongest_route(node, set(self.roots), self.direction)
        if not route:
            return -1
        opened, forced = dict(self.look.opened), dict(self.look.forced)
        for depth, here in enumerate(route[:-1], 1):
            opened[here] = tuple(route[:depth])
            forced[here] = tuple({*forced.get(here, ()), route[depth]})
        self.see(opened=opened, forced=forced)
        return self.index_of(tuple(route))

    # Where things are.

    def index_of(self, path: Path) -> int:
        """The line of a place, or of the nearest place above it; -1 if none of it is there."""
        lines = {line.path: index for index, line in reversed(list(enumerate(self.lines))) if line.node is not None}
        for depth in range(len(path), 0, -1):
            if path[:depth] in lines:
                return lines[path[:depth]]
        return -1

    def index_of_node(self, node: int) -> int:
        """The first line of a node that is no reference, else of any; -1 if it is on none."""
        found = [(line.seen, index) for index, line in enumerate(self.lines) if line.node and line.node.node == node]
        return min(found)[1] if found else -1

    def place_of(self, node: int) -> Path:
        """Where a node stands open."""
        return self.look.opened.get(node, ())

    def node_at(self, index: int) -> NodeView | None:
        """The node on a line; None of a line of words."""
        return self.lines[index].node if index < len(self.lines) else None
