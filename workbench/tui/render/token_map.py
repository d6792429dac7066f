"""The layer × token map of a graph in a terminal: where on the way from tokens to logits its features lie.

Columns are tokens, rows are layers with the highest on top. A cell shows how much of the logit comes through its
features (`·` little, `•` some, `●` most; `°`, `◦`, `○` where they lower it) and how many they are; `◇`: an error alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from tasks.graphs.view import GraphView, NodeView
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


def map_cells(view: GraphView) -> dict[tuple[int, int], MapCell]:
    """(layer, position) -> what lies there, of the places where something does."""
    groups: dict[tuple[int, int], list[NodeView]] = {}
    for node in view.nodes.values():
        if node.kind in ("feature", "error"):
            groups.setdefault((node.layer, node.position), []).append(node)
    return {place: _cell(nodes) for place, nodes in groups.items()}


def token_map(view: GraphView, width: int, selected: int | None = None) -> Text:
    """The map in at most `width` cells a line; the selected node's cell is shown in reverse.

    A prompt too long for the width shows its last tokens, and says so; runs of empty layers become one line.
    """
    columns = max(1, min(len(view.tokens), (width - _AXIS) // _NARROWEST))
    cell = min(_BROADEST, (width - _AXIS) // columns)
    first = len(view.tokens) - columns
    cells = map_cells(view)
    chosen = view.nodes.get(-1 if selected is None else selected)
    lines = [*_logits(view, width)]
    if first:
        lines.append(Text(fit(f"tokens {first} to {len(view.tokens) - 1} of {len(view.tokens)}", width), style="dim"))
    lines.extend(_layers(cells, range(first, len(view.tokens)), cell, chosen))
    lines.append(_labels(view.tokens[first:], cell))
    return Text("\n").join(lines)


def _cell(nodes: Sequence[NodeView]) -> MapCell:
    features = [node for node in nodes if node.kind == "feature"]
    effects = [node.predicted_effect for node in features if node.predicted_effect is not None]
    values = effects or [node.share for node in features if not math.isnan(node.share)]
    value = sum(values) if values or not features else math.nan
    return MapCell(len(features), value, len(nodes) - len(features))


def _logits(view: GraphView, width: int) -> Iterator[Text]:
    words = []
    for node in (view.nodes[root] for root in view.roots):
        rival = f" − {show_token(node.rival)}" if node.rival else ""
        words.append(f"{show_token(node.text)}{rival} {node.activation:.3f}" if node.kind == "logit" else node.name)
    yield Text(fit(" " * _AXIS + "  ".join(words), width), style="bold")


def _layers(
    cells: Mapping[tuple[int, int], MapCell], positions: range, width: int, chosen: NodeView | None
) -> Iterator[Text]:
    """A line a layer; layers in which nothing of the graph lies are counted in one line."""
    largest = max((abs(cell.value) for cell in cells.values() if not math.isnan(cell.value)), default=0.0)
    present = sorted({layer for layer, _ in cells}, reverse=True)
    above: int | None = None
    for layer in present:
        if above is not None and above - layer > 1:
            yield Text(f"{'⋮':>{_AXIS - 1}}", style="dim")
        above = layer
        line = Text(f"{f'L{layer}':>{_AXIS - 1}} ", style="dim")
        for position in positions:
            here = chosen is not None and (chosen.layer, chosen.position) == (layer, position)
            line.append_text(_drawn(cells.get((layer, position)), largest, width, here))
        line.rstrip()
        yield line


def _drawn(cell: MapCell | None, largest: float, width: int, here: bool) -> Text:
    """One cell: the mark and the number of features, in `width` cells with a space at the end."""
    if cell is None:
        return Text(" " * width)
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
