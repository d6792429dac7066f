"""The card of one feature, as the app and `workbench features show` draw it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import bar, column, number, percent, sign, signed
from workbench.tui.render.feature_detail import (
    context_strips,
    moments_line,
    neighbour_lists,
    quantile_examples,
    strip_values,
)
from workbench.tui.render.features import STAR
from workbench.tui.render.heat_strip import strip_scale
from workbench.tui.render.label_scores import score_lines
from workbench.tui.render.tokens import fit, show_text, show_token

LOWEST_OCTAVE = -10
"""The first bin of a histogram counts activations below 2^-9, each next one those of twice the size."""
_HISTOGRAM_LINES = 3
_SHOWN_LABELS, _SHOWN_PLACES = 3, 6
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_WIDEST = 100
"""Cells beyond which a card only grows emptier."""


def feature_card(card: Mapping[str, Any], width: int = 80, dark: bool = True) -> Group:
    """Everything known of one feature (`store.features.card`) on `width` cells, each number with its unit."""
    width = min(width, _WIDEST)
    return Group(
        *_head(card),
        *_activations(card, width),
        *_tokens(card, width),
        *_contexts(card, width, dark),
        *quantile_examples(card, width, dark),
        *neighbour_lists(card, width),
        *_places(card, width),
    )


def histogram(counts: Sequence[int], width: int) -> list[Text]:
    """Counts of activations an octave as columns, and under each its lower edge: silent ends are left out."""
    filled = [octave for octave, count in enumerate(counts) if count]
    if not filled:
        return []
    first, last = filled[0], filled[-1]
    shown = counts[first : last + 1]
    cells = max(2, min(6, width // len(shown)))
    top = max(shown)
    lines = []
    for level in reversed(range(_HISTOGRAM_LINES)):
        shares = (_HISTOGRAM_LINES * count / top - level for count in shown)
        lines.append(Text("".join((column(share) * (cells - 1)).ljust(cells) for share in shares).rstrip()))
    edges = [_edge(octave + LOWEST_OCTAVE) if octave else "0" for octave in range(first, last + 1)]
    every = -(-(max(map(len, edges)) + 1) // cells)
    axis = "".join(edge.ljust(cells * every) for edge in edges[::every])
    return [line for line in lines if line.plain.strip()] + [Text(axis.rstrip(), style="dim")]


def logit_bars(promoted: Sequence[Sequence[Any]], suppressed: Sequence[Sequence[Any]], width: int) -> list[Text]:
    """Two columns, promoted and suppressed tokens with their logits as signed bars, on one scale."""
    scale = max((abs(value) for _, value in (*promoted, *suppressed) if _is_known(value)), default=0.0)
    half = max(width // 2 - 1, 16)
    lines = []
    for up, down in zip_longest(promoted, suppressed):
        line = Text(no_wrap=True)
        for pair in (up, down):
            cell = _logit(pair, scale, half) if pair else Text("")
            line.append_text(cell).append(" " * (half + 1 - cell_len(cell.plain)))
        line.rstrip()
        lines.append(line)
    return lines


def _head(card: Mapping[str, Any]) -> Iterator[Text]:
    star = f"{STAR} " if card.get("starred") else ""
    yield Text(f"{star}{show_text(str(card['dictionary']))} {show_text(str(card['feature']))}", style="bold")
    if card.get("dashboard"):
        yield Text(show_text(str(card["dashboard"])), style="dim", overflow="fold")
    changes = card.get("labels") or []
    if card.get("label"):
        written = f"  ({_by(changes[0])})" if changes else ""
        yield Text(show_text(str(card["label"]))).append(written, style="dim")
        scores = score_lines(changes[0].get("scores") or []) if changes else []
        yield from (Text(line, style="dim") for line in scores or ["not scored"])
    else:
        yield Text("no label", style="dim")
    for change in changes[1 : _SHOWN_LABELS + 1]:
        words = show_text(str(change["label"])) or "no label"
        yield Text(f"before: {words}  ({_by(change)})", style="dim")


def _by(change: Mapping[str, Any]) -> str:
    return f"{show_text(str(change['source']))}, {str(change['created_at'])[:10]}"


def _activations(card: Mapping[str, Any], width: int) -> Iterator[Text]:
    if not card["density"]:
        yield Text("\nsilent: active on no token of the text that was indexed")
        return
    line = Text("\n")
    for name, value in (
        ("active on ", f"{percent(card['density'], 2)} of tokens"),
        ("maximum ", number(card["maximum"], 2)),
        ("mean when active ", number(card["mean"], 2)),
    ):
        line.append(name, style="dim").append(f"{value}   ")
    yield line
    yield from moments_line(card)
    rows = histogram(card.get("histogram") or [], width)
    if rows:
        most = max(card["histogram"])
        yield Text(f"\ntokens by activation, an octave a column (highest: {most} tokens)", style="dim")
        yield from rows


def _tokens(card: Mapping[str, Any], width: int) -> Iterator[Text]:
    if card.get("fires_on"):
        shown = " ".join(show_token(str(token)) for token in card["fires_on"])
        yield Text("\nfires on  ", style="dim").append(shown, style="not dim")
    if card["promoted"] or card["suppressed"]:
        yield Text("\npromoted and suppressed tokens (logit for activation 1)", style="dim")
        yield from logit_bars(card["promoted"], card["suppressed"], width)


def _contexts(card: Mapping[str, Any], width: int, dark: bool) -> Iterator[Text]:
    contexts = card.get("contexts")
    if contexts is None:
        yield Text("\nno texts are stored of its examples: `workbench index` again keeps them", style="dim")
        return
    if contexts:
        yield Text("\nstrongest examples, activation on each token", style="dim")
    scale = strip_scale([strip_values(context) for context in contexts])
    yield from context_strips(contexts, width, scale, dark)


def _places(card: Mapping[str, Any], width: int) -> Iterator[Text]:
    graphs = card.get("graphs") or []
    if graphs:
        yield Text("\nkept in graphs (activation; effect on the decisive logit, nats)", style="dim")
        for node in graphs[:_SHOWN_PLACES]:
            line = (
                f"graph {node['graph']} @{node['position']}  {number(node['activation'], 2)}"
                f"  predicted {signed(node['predicted_effect'])}  measured {signed(node['measured_effect'])}"
                f"  {show_text(str(node['prompt']))}"
            )
            yield Text(fit(line, width), no_wrap=True)
        yield from _rest(len(graphs), "nodes")
    interventions = card.get("interventions") or []
    if interventions:
        yield Text("\nin interventions", style="dim")
        for each in interventions[:_SHOWN_PLACES]:
            edits = ", ".join(map(str, each["edits"]))
            yield Text(fit(f"{each['intervention']}  {show_text(edits)}  {show_text(str(each['prompt']))}", width))
        yield from _rest(len(interventions), "interventions")


def _rest(n: int, what: str) -> Iterator[Text]:
    if n > _SHOWN_PLACES:
        yield Text(f"… {n - _SHOWN_PLACES} more {what}", style="dim")


def _logit(pair: Sequence[Any], scale: float, width: int) -> Text:
    if not _is_known(pair[1]):  # an imported feature: its file names tokens without logits
        return Text(fit(f"{'–':>5} {show_token(str(pair[0]))}", width))
    token, value = str(pair[0]), float(pair[1])
    cells = max(min(width - 20, 10), 4)
    line = Text(f"{sign(value)}{abs(value):.2f} ")
    line.append(bar(abs(value) / scale if scale else 0.0, cells), style="red" if value < 0 else "green")
    return line.append(" " + fit(show_token(token), width - cell_len(line.plain) - 1))


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _edge(power: int) -> str:
    """`16`, `1/4`, `2⁻⁹`."""
    if power >= 0:
        return str(2**power)
    return f"1/{2**-power}" if power >= -3 else "2" + str(power).translate(_SUPERSCRIPT)
