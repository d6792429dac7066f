"""How features are written, and which nodes of a graph a name means.

L12/345@7    feature 345 of layer 12 at position 7
L12/345@-1   at the last position;  L12/345@7,9 at two;  L12/345 or L12/345@* at every position
L4-12,20/*   every feature of these layers
L12@7        the error of layer 12 at position 7 (of a graph only)
@7           the token at position 7 (of a graph only)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from store.errors import BadInput
from store.graphs import NodeRecord

NUMBER = r"[0-9]{1,9}"
LAYER = r"[0-9]{1,4}"
LAYERS = rf"{LAYER}(?:-{LAYER})?(?:,{LAYER}(?:-{LAYER})?)*"
PATTERN = re.compile(
    rf"L(?P<layers>{LAYERS})/(?P<feature>\*|{NUMBER})(?:@(?P<positions>\*|-?{NUMBER}(?:,-?{NUMBER})*))?"
)
HOW = "write features as L12/345, L12/345@7, L12/345@-1 or L4-12/*@*"


class Misread(BadInput):
    """Text that breaks a grammar. `at` is the character at fault, counted from 0 in the text that was read."""

    def __init__(self, piece: str, expected: str, at: int, mend: str) -> None:
        """`piece` of the text should have been `expected`, and ceases to be so at the character `at`."""
        super().__init__(f"{piece!r} is not {expected} (at character {at + 1})", mend)
        self.piece = piece
        self.expected = expected
        self.at = at

    def moved(self, offset: int) -> Misread:
        """The same fault in a longer text, in which this one begins at `offset`."""
        return Misread(self.piece, self.expected, self.at + offset, self.mend)


@dataclass(frozen=True)
class FeatureName:
    """A feature, or many, as a person writes them. `None` stands for all."""

    layers: tuple[int, ...]
    feature: int | None
    positions: tuple[int, ...] | None

    def __str__(self) -> str:
        """The shortest spelling; it is read back as the same name."""
        feature = "*" if self.feature is None else self.feature
        where = "" if self.positions is None else "@" + ",".join(map(str, self.positions))
        return f"L{_ranges(self.layers)}/{feature}{where}"


def parse_feature(text: str) -> FeatureName:
    """Read one name; `Misread` points at the character where the grammar breaks."""
    match = PATTERN.match(text)
    if match is None or match.end() != len(text):
        raise Misread(text, "a feature", _first_fault(text) if match is None else match.end(), HOW)
    layers: list[int] = []
    for part in match["layers"].split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise BadInput(f"the layers {part} of {text!r} run backwards", f"write L{last}-{first}")
        layers.extend(range(int(first), int(last or first) + 1))
    positions = match["positions"] or "*"
    return FeatureName(
        tuple(sorted(set(layers))),
        None if match["feature"] == "*" else int(match["feature"]),
        None if positions == "*" else tuple(int(each) for each in positions.split(",")),
    )


def _first_fault(text: str) -> int:
    """The length of the longest beginning that some feature name could have."""
    prefix = re.match(rf"L?(?:{LAYERS})?/?", text)
    return 0 if prefix is None or not text.startswith("L") else prefix.end()


def _ranges(layers: tuple[int, ...]) -> str:
    """`4-12,20` of sorted layers."""
    runs = [[layer for _, layer in run] for _, run in groupby(enumerate(layers), lambda each: each[1] - each[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


_LEAF = re.compile(rf"(?:L(?P<layer>{LAYER}))?@(?P<position>\*|-?{NUMBER})")


def named_nodes(text: str, nodes: Iterable[NodeRecord], n_positions: int) -> list[int]:
    """The nodes among `nodes` that `text` means, in their order; `BadInput` if the grammar breaks or there is none."""
    leaf = _LEAF.fullmatch(text)
    layers: tuple[int, ...]
    positions: tuple[int, ...] | None
    if leaf is not None:
        kind = "token" if leaf["layer"] is None else "error"
        layers = (-1 if leaf["layer"] is None else int(leaf["layer"]),)
        feature = None
        positions = None if leaf["position"] == "*" else (int(leaf["position"]),)
    else:
        name = parse_feature(text)
        kind, layers, feature, positions = "feature", name.layers, name.feature, name.positions
    places = None if positions is None else {place % n_positions for place in positions if -n_positions <= place}
    found = [
        node.node
        for node in nodes
        if node.kind == kind
        and node.layer in layers
        and feature in (None, node.feature)
        and (places is None or node.position in places)
    ]
    if not found:
        raise BadInput(f"{text} is not in the graph", "`workbench graph show` prints the names of what is")
    return found
