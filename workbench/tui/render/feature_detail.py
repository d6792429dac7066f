"""What an index says of a feature beside its strongest examples: moments, examples by quantile, what is like it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from workbench.tui.render.bars import number, percent
from workbench.tui.render.features import neighbour_line
from workbench.tui.render.heat_strip import heat_strip, strip_scale

_SHOWN_NEIGHBOURS = 5


def moments_line(card: Mapping[str, Any]) -> Iterator[Text]:
    """`standard deviation 1.20   skewness 0.40   kurtosis 3.10`, of the activation where it is not zero."""
    moments = card.get("moments")
    if not moments:
        return
    line = Text()
    for name in ("standard_deviation", "skewness", "kurtosis"):
        line.append(f"{name.replace('_', ' ')} ", style="dim").append(f"{number(moments[name], 2)}   ")
    yield line


def quantile_examples(card: Mapping[str, Any], width: int, dark: bool) -> Iterator[Text]:
    """Examples drawn from each fifth of the activations, and the lowest of a feature that goes below zero."""
    quantiles = card.get("quantiles") or []
    if quantiles:
        yield Text("\ndrawn at random from all it is active on: fifths by quantile of the draw", style="dim")
    every = [context for group in quantiles for context in group["contexts"]]
    scale = strip_scale([strip_values(context) for context in every])
    for group in quantiles:
        bounds = f"{percent(group['from'], 0)} – {percent(group['to'], 0)}"
        yield Text(bounds, style="dim")
        yield from context_strips(group["contexts"], width, scale, dark)
    lowest = card.get("lowest") or []
    if lowest:
        yield Text("\nfurthest below zero", style="dim")
        yield from context_strips(lowest, width, scale, dark)


def neighbour_lists(card: Mapping[str, Any], width: int) -> Iterator[Text]:
    """The nearest features of the same layer by decoder, and those that are active on the same tokens."""
    neighbours = card.get("neighbours") or {}
    titles = {
        "by_decoder": "writes most nearly the same (cosine)",
        "by_coactivation": "active together (of the tokens of either, the share of both)",
    }
    for kind, title in titles.items():
        rows = neighbours.get(kind) or []
        if rows:
            yield Text(f"\n{title}", style="dim")
        for row in rows[:_SHOWN_NEIGHBOURS]:
            likeness = {"cosine": row["cosine"] if kind == "by_decoder" else row["share"]}
            yield neighbour_line({"density": None} | row | likeness, width)


def context_strips(contexts: Sequence[Mapping[str, Any]], width: int, scale: float, dark: bool) -> Iterator[Text]:
    """Each example's activation, and its words with how active the feature is on each."""
    for context in contexts:
        left = f"{number(context['activation'], 2):>7}  "
        words = max(width - len(left), 10)
        rows = heat_strip(context["tokens"], strip_values(context), words, scale, context["at"], dark)
        for index, row in enumerate(rows):
            yield Text(left if index == 0 else " " * len(left), no_wrap=True).append_text(row)


def strip_values(context: Mapping[str, Any]) -> list[float]:
    """The activation on each token of an example, NaN where it is not known."""
    return [math.nan if value is None else value for value in context["values"]]
