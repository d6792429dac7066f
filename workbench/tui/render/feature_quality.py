"""The quality of a set's features: counts a layer, examples of each fault, and how few features carry the variance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from workbench.tui.render.bars import bar, number, percent
from workbench.tui.render.document import records_table
from workbench.tui.render.facts import facts
from workbench.tui.render.tokens import fit, show_text, show_token

_COLUMNS = {
    "layer": "layer", "features": "features", "dead": "dead", "dense": "dense", "ultra_dense": "ultra-dense",
    "duplicates": "duplicates", "token_bound": "token-bound",
}  # fmt: skip
_SHOWN = 4
_BAR = 20
_SHARES = (0.01, 0.1, 0.5, 1.0)
"""Of the features, for the lines of coverage."""


def quality_view(document: Mapping[str, Any], width: int = 80) -> Group:
    """The whole report (`tasks.feature_quality`) with its thresholds, on `width` cells."""
    limits = document["thresholds"]
    said = (
        f"dead: silent on the {document['indexed_tokens']} tokens of the index; dense: on more than"
        f" {percent(limits['dense'])} of tokens, ultra-dense {percent(limits['ultra_dense'])}; duplicates: cosine of"
        f" write vectors above {limits['alike']:g}; token-bound: {percent(limits['bound'], 0)} of examples on one token"
    )
    layers = document["layers"]
    return Group(
        facts({"dictionary": document["dictionary"]}),
        records_table([{name: layer[name] for name in _COLUMNS} for layer in layers], _COLUMNS),
        Text(said, style="dim"),
        *_coverage(layers, document["coverage_tokens"], width),
        *(line for layer in layers for line in _named(layer, width)),
    )


def _coverage(layers: Any, n_tokens: int, width: int) -> Iterator[Text]:
    """Of each layer the variance that the first 1 %, 10 %, 50 % and all of its features explain."""
    measured = [layer for layer in layers if layer["coverage"]]
    if not measured:
        return
    words = f"\nvariance explained by the first features, by what they write ({n_tokens} held-out tokens)"
    yield Text(words, style="dim")
    for layer in measured:
        for at, share in enumerate(_SHARES):
            point = min(layer["coverage"], key=lambda each: abs(each["features"] - share * layer["features"]))
            name = f"L{layer['layer']}" if at == 0 else ""
            value = point["variance_explained"]
            line = f"{name:>5} {point['features']:>7}  {bar(value, _BAR)} {percent(value)}"
            yield Text(fit(line, width), no_wrap=True)
        half, most = layer["features_for_half"], layer["features_for_nine_tenths"]
        if half is not None:
            yield Text(fit(f"{'':>5} half of it with {half}, nine tenths with {most} features", width), style="dim")


def _named(layer: Mapping[str, Any], width: int) -> Iterator[Text]:
    """The worst of each kind by name."""
    lists = (
        ("densest", [f"{each['feature']} {percent(each['density'])}" for each in layer["densest"]]),
        ("most alike", [f"{each['feature']} {each['other']} {number(each['cosine'], 3)}" for each in layer["alike"]]),
        ("bound to", [f"{show_token(str(each['token']))} {each['feature']}" for each in layer["bound"]]),
    )
    for title, names in lists:
        if names:
            shown = "   ".join(map(show_text, names[:_SHOWN]))
            yield Text(fit(f"L{layer['layer']} {title}: {shown}", width), no_wrap=True)
