"""The layer × token map of a graph in a terminal: where on the way from tokens to logits its features lie.

Columns are tokens, rows are layers with the highest on top. A cell shows how much of the logit comes through its
features (`·` little, `•` some, `●` most; `°`, `◦`, `○` where they lower it) and how many they are; `◇`: an error alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from tasks.graphs.view import GraphView, NodeView
from workbench.tui.render.bars import signed
from workbench.tui.render.tokens import fit, show_token

_AXIS, _NARROWEST, _BROADEST = 5, 4, 12
_RAISING, _LOWERING, _ERROR = "·•●", "°◦○", "◇"
_SOME, _MOST = 0.1, 0.4
"""Parts of the strongest cell's size from which a mark is `•` and `●`."""


@dataclass(frozen=True)
class MapCell:
    """What lies at one layer and one token."""

    features: int
    value: float
    """The sum of the features' predicted effects on the first logit, nats; of their shares where no effect is known.

    NaN where neither is.
    """
    errors: int


Place = tuple[int, int]
"""(layer, position)."""
_Row = tuple[int | None, Text]


def map_cells(nodes: Iterable[NodeView]) -> dict[Place, MapCell]:
    """(layer, position) -> what lies there, of the places where something does."""
    groups: dict[Place, list[NodeView]] = {}
    for node in nodes:
        if node.kind in ("feature", "error"):
            groups.setdefault((node.layer, node.position), []).append(node)
    return {place: _cell(nodes) for place, nodes in groups.items()}


def token_map(view: GraphView, width: int, selected: int | None = None) -> Text:
    """The map in at most `width` cells a line; the selected node's cell is shown in reverse.

    A prompt too long for the width shows its last tokens, and says so; runs of empty layers become one line.
    """
    chosen = view.nodes.get(-1 if selected is None else selected)
    heading = logit_words([view.nodes[root] for root in view.roots])
    here = None if chosen is None else (chosen.layer, chosen.position)
    lines = [line for _, line in map_rows(map_cells(view.nodes.values()), view.tokens, width, here)]
    return Text("\n").join([Text(fit(" " * _AXIS + heading, width), style="bold"), *lines])


def map_rows(
    cells: Mapping[Place, MapCell], tokens: Sequence[str], width: int, here: Place | None = None, follow: bool = False
) -> list[tuple[int | None, Text]]:
    """The map's lines with the layer of each, the highest first, the tokens last; the cell `here` is in reverse.

    With `follow` the tokens shown of a long prompt are those around `here`, else the last ones.
    """
    first, columns, cell = _layout(len(tokens), width, here if follow else None)
    rows: list[tuple[int | None, Text]] = []
    if columns < len(tokens):
        words = f"tokens {first} to {first + columns - 1} of {len(tokens)}"
        rows.append((None, Text(fit(words, width), style="dim")))
    rows.extend(_layers(cells, range(first, first + columns), cell, here))
    rows.append((None, _labels(tokens[first : first + columns], cell)))
    return rows


def position_at(n_tokens: int, width: int, here: Place | None, column: int) -> int | None:
    """The token whose column of a map that follows `here` is under a cell of the screen; None beside the map."""
    first, columns, cell = _layout(n_tokens, width, here)
    place = (column - _AXIS) // cell
    return first + place if 0 <= place < columns else None


def _layout(n_tokens: int, width: int, here: Place | None) -> tuple[int, int, int]:
    """(first token, tokens, cells of the screen a token)."""
    columns = max(1, min(n_tokens, (width - _AXIS) // _NARROWEST))
    first = n_tokens - columns
    if here is not None:
        first = max(0, min(first, here[1] - columns // 2))
    return first, columns, max(min(_BROADEST, (width - _AXIS) // columns), 2)


def logit_words(nodes: Iterable[NodeView]) -> str:
    """What a graph explains, in a line: `·French − ·Spanish 0.435`, with the probability."""
    words = []
    for node in nodes:
        rival = f" − {show_token(node.rival)}" if node.rival else ""
        words.append(f"{show_token(node.text)}{rival} {node.activation:.3f}" if node.kind == "logit" else node.name)
    return "  ".join(words)


def cell_words(cell: MapCell | None) -> str:
    """What lies in a cell: `3 features +0.525 nats, 1 error`."""
    if cell is None:
        return "nothing"
    parts = [f"{cell.features} feature{'s' * (cell.features != 1)} {signed(cell.value)} nats"] if cell.features else []
    parts += [f"{cell.errors} error{'s' * (cell.errors != 1)}"] if cell.errors else []
    return ", ".join(parts)


def _cell(nodes: Sequence[NodeView]) -> MapCell:
    features = [node for node in nodes if node.kind == "feature"]
    effects = [node.predicted_effect for node in features if node.predicted_effect is not None]
    values = effects or [node.share for node in features if not math.isnan(node.share)]
    value = sum(values) if values or not features else math.nan
    return MapCell(len(features), value, len(nodes) - len(features))


def _layers(cells: Mapping[Place, MapCell], positions: range, width: int, chosen: Place | None) -> Iterator[_Row]:
    """A line a layer; layers in which nothing of the graph lies are counted in one line."""
    largest = max((abs(cell.value) for cell in cells.values() if not math.isnan(cell.value)), default=0.0)
    present = sorted({layer for layer, _ in cells}, reverse=True)
    above: int | None = None
    for layer in present:
        if above is not None and above - layer > 1:
            yield None, Text(f"{'⋮':>{_AXIS - 1}}", style="dim")
        above = layer
        line = Text(f"{f'L{layer}':>{_AXIS - 1}} ", style="dim")
        for position in positions:
            line.append_text(_drawn(cells.get((layer, position)), largest, width, chosen == (layer, position)))
        line.rstrip()
        yield layer, line


def _drawn(cell: MapCell | None, largest: float, width: int, here: bool) -> Text:
    """One cell: the mark and the number of features, in `width` cells with a space at the end."""
    if cell is None:
        return Text("·" if here else " ", style="reverse" if here else "").append(" " * (width - 1))
    if not cell.features:
        return Text(_ERROR.ljust(width), style="reverse" if here else "dim")
    unknown = math.isnan(cell.value)
    part = abs(cell.value) / largest if largest and not unknown else 0.0
    size = (part >= _SOME) + (part >= _MOST)
    mark = (_LOWERING if cell.value < 0 else _RAISING)[size]
    count = f"{cell.features}" if cell.features > 1 else ""
    shown = Text(fit(mark + count, width - 1), style="" if unknown else "red" if cell.value < 0 else "green")
    if here:
        shown.stylize("reverse")
    return shown.append(" " * (width - cell_len(shown.plain)))


def _labels(tokens: Sequence[str], width: int) -> Text:
    line = Text(" " * _AXIS)
    for token in tokens:
        shown = fit(show_token(token), width - 1)
        line.append(shown + " " * (width - cell_len(shown)))
    line.rstrip()
    return line
