"""Small charts of a report, as SVG without scripts: a number among its controls, faithfulness over circuit sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _LEFT, _RIGHT = 520.0, 44.0, 12.0
_COLOURS = {"predicted_effect": "#1b6b8f", "share": "#8a6100", "random": "#8592a0"}
_OTHER = "#5a6675"


def control_strip(value: float, controls: Sequence[float]) -> str:
    """The number as a full dot, its controls as rings, on one axis that holds 0 and all of them."""
    low, high = min(0.0, value, *controls), max(0.0, value, *controls)
    span = (high - low) or 1.0

    def x(number: float) -> float:
        return _LEFT + (number - low) / span * (_WIDTH - _LEFT - _RIGHT)

    rings = "".join(f'<circle cx="{x(c):.1f}" cy="16" r="4" fill="none" stroke="#8592a0"/>' for c in controls)
    labels = "".join(
        f'<text x="{x(number):.1f}" y="38" font-size="10" text-anchor="middle">{number:.2f}</text>'
        for number in _apart([0.0, value, low, high], span)
    )
    return (
        f'<svg width="{_WIDTH:g}" height="44" viewBox="0 0 {_WIDTH:g} 44" role="img" '
        f'aria-label="{value:.3f} among controls">'
        f'<path d="M{x(low):.1f} 16H{x(high):.1f}M{x(0):.1f} 8V24" stroke="#c7ced6" fill="none"/>{rings}'
        f'<circle cx="{x(value):.1f}" cy="16" r="5" fill="#1b6b8f"/>{labels}</svg>'
    )


def _apart(numbers: Sequence[float], span: float) -> list[float]:
    """Those of the numbers that can be labelled without touching, the first ones first."""
    kept: list[float] = []
    for number in numbers:
        if all(abs(number - other) > 0.08 * span for other in kept):
            kept.append(number)
    return kept


def faithfulness_chart(validation: Mapping[str, Any]) -> str:
    """Faithfulness of circuits of every size, ranked by predicted effect and at random; nothing if none is known."""
    sizes = validation["sizes"]
    curves = {
        name: list(curve["faithfulness"])
        for name, curve in validation["curves"].items()
        if all(value is not None for value in curve["faithfulness"])
    }
    if not curves:
        return ""
    known = [value for values in curves.values() for value in values]
    low, high = round(min(0.0, *known), 2), max(1.0, *known)
    smallest = math.log10(sizes[0])

    def point(size: float, value: float) -> str:
        x = _LEFT + (math.log10(size) - smallest) / -smallest * (_WIDTH - _LEFT - _RIGHT)
        return f"{x:.1f} {132 - (value - low) / (high - low) * 116:.1f}"

    lines = "".join(
        f'<path d="M{"L".join(point(s, v) for s, v in zip(sizes, values, strict=True))}" fill="none" stroke-width="2" '
        f'stroke="{_COLOURS.get(name, _OTHER)}"/>'
        for name, values in curves.items()
    )
    ticks = "".join(
        f'<text x="{point(size, low).split()[0]}" y="147" font-size="10" text-anchor="middle">{size:g}</text>'
        for size in sizes[::3]
    )
    levels = "".join(
        f'<text x="4" y="{point(1, level).split()[1]}" font-size="10">{level + 0.0:.2f}</text>' for level in (low, high)
    )
    return (
        f'<svg width="{_WIDTH:g}" height="168" viewBox="0 0 {_WIDTH:g} 168" role="img" '
        f'aria-label="faithfulness of graph {int(validation["graph"])}">'
        f'<path d="M{_LEFT:g} 16V132H{_WIDTH - _RIGHT:g}" stroke="#c7ced6" fill="none"/>'
        f"{lines}{ticks}{levels}{_names(curves)}</svg>"
    )


def _names(curves: Iterable[str]) -> str:
    """Which colour is what."""
    return "".join(
        f'<text x="{_LEFT + 150 * number:g}" y="162" font-size="10" fill="{_COLOURS.get(name, _OTHER)}">'
        f"{escape(name.replace('_', ' '))}</text>"
        for number, name in enumerate(curves)
    )
