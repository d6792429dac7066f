"""The card of one node of a graph: what it is, how much it matters and to whom, where else it is active."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from store.features import FeatureRecord
from tasks.graphs.view import EdgeView, NodeView
from workbench.tui.render.bars import number, percent, signed
from workbench.tui.render.features import sparkline, token_list
from workbench.tui.render.graph_tree import describe
from workbench.tui.render.heat_strip import heat_strip
from workbench.tui.render.tokens import fit, show_text, show_token
from workbench.tui.render.tree_lines import VERDICT_GLYPH

LOWEST_OCTAVE = -10
"""Bin 0 of a feature's histogram begins at 2^-10; a bin is an octave (tasks.dictionaries.feature_statistics)."""
_LABEL_CELLS = 11
_TOKENS = 6


@dataclass(frozen=True)
class NodeFacts:
    """What a card is drawn from. Texts are raw."""

    node: NodeView
    tokens: Sequence[str]
    unit: str
    """What shares and effects of nodes are nats of: the decisive logit, inert."""
    n_in: int
    n_out: int
    """Edges that are drawn."""
    feature: FeatureRecord | None = None
    """What the index says of it."""
    activations: Sequence[float] = ()
    """[position]: of the same feature over the prompt."""
    edge: EdgeView | None = None
    """The edge to the line above it in the tree."""
    above: NodeView | None = None
    pinned: bool = False
    selected: bool = False
    group: str = ""
    """The supernode that it is in."""


def node_card(facts: NodeFacts, width: int) -> list[Text]:
    """The card in lines of at most `width` cells."""
    node = facts.node
    name, about = describe(node, facts.tokens)
    marks = [*(["pinned"] if facts.pinned else []), *(["selected"] if facts.selected else [])]
    lines = [Text(fit("  ".join([name, *marks]), width), style="bold")]
    if node.kind == "feature":
        lines += _feature(facts, width)
    elif about and node.kind != "logit":
        lines += _wrapped(about, width)
    if facts.group:
        lines.append(_fact("group", f"[{show_text(facts.group)}]", width))
    lines += [Text(""), *_numbers(facts, width)]
    if facts.edge is not None and facts.above is not None:
        lines += [Text(""), *_edge(facts.edge, facts, width)]
    lines.append(_fact("drawn", f"{facts.n_in} edges in, {facts.n_out} out", width))
    if any(facts.activations):
        lines += [Text(""), Text(fit("activation over the prompt", width), style="dim")]
        lines += heat_strip(facts.tokens, facts.activations, width, mark=node.position)
    return lines


def cell_card(nodes: Sequence[NodeView], tokens: Sequence[str], width: int) -> list[Text]:
    """The nodes at one layer and token, the strongest effect first, in lines of at most `width` cells."""
    if not nodes:
        return [Text(fit("nothing is drawn here", width), style="dim")]
    lines = [Text(fit(" effect    real  (nats of the logit)", width), style="dim")]
    for node in sorted(nodes, key=lambda node: -abs(node.predicted_effect or 0.0)):
        name, about = describe(node, tokens)
        line = Text(
            f"{signed(node.predicted_effect):>7} {signed(node.measured_effect):>7} {VERDICT_GLYPH[node.verdict]} "
        )
        line.append(fit("  ".join(filter(None, (name, about))), max(width - line.cell_len, 1)))
        lines.append(line)
    return lines


def _feature(facts: NodeFacts, width: int) -> list[Text]:
    node, known = facts.node, facts.feature
    label = known.label if known else node.label
    lines = _wrapped(show_text(label), width, "italic") if label else []
    promoted = token_list(known.promoted[:_TOKENS]) if known else "  ".join(map(show_token, node.promoted[:_TOKENS]))
    fires_on = known.fires_on if known else node.fires_on
    if fires_on:
        lines.append(_fact("fires on", " ".join(map(show_token, fires_on[:_TOKENS])), width))
    if promoted:
        lines.append(_fact("promotes", promoted, width))
    if known and known.suppressed:
        lines.append(_fact("suppresses", token_list(known.suppressed[:_TOKENS]), width))
    if not (label or promoted or fires_on):
        lines.append(Text(fit("no words: `workbench index` describes features", width), style="dim"))
    if known is not None:
        lines.append(_fact("density", f"{number(known.density, 5)} of tokens", width))
        if any(known.histogram):
            lines += histogram_lines(known.histogram, node.activation, width)
    return lines


def histogram_lines(counts: Sequence[int], activation: float, width: int) -> list[Text]:
    """Two lines: how often the feature is how active in the corpus (a column an octave), and where this one is."""
    first = next((bin for bin, count in enumerate(counts) if count), 0)
    last = len(counts) - next((bin for bin, count in enumerate(reversed(counts)) if count), 0)
    here = min(max(math.floor(math.log2(activation)) - LOWEST_OCTAVE, 0), len(counts) - 1) if activation > 0 else 0
    first, last = min(first, here), max(last, here + 1)
    bars = sparkline([math.log1p(count) for count in counts[first:last]])
    ends = f"{_power(first)} … {_power(last)}"
    return [
        _fact("corpus", f"{bars}  {ends}, counts in log", width),
        Text(fit(" " * (_LABEL_CELLS + here - first) + "▲ this one", width), style="dim"),
    ]


def _power(bin: int) -> str:
    return f"{2.0 ** (bin + LOWEST_OCTAVE):g}" if bin + LOWEST_OCTAVE > -4 else f"2^{bin + LOWEST_OCTAVE}"


def _numbers(facts: NodeFacts, width: int) -> list[Text]:
    node, unit = facts.node, f"nats of {facts.unit}"
    if node.kind == "logit":
        rows = [("p", number(node.activation)), ("value", f"{signed(node.share)} nats")]
    else:
        rows = [("share", f"{signed(node.share)} {unit}")]
    if node.kind in ("feature", "supernode"):
        measured = f"{signed(node.measured_effect)} nats"
        if node.measured_effect is not None:
            measured += f"  {VERDICT_GLYPH[node.verdict]} {node.verdict}"
        else:
            measured = "– not measured: V validates the graph"
        rows = [
            ("activation", f"{number(node.activation)}{_of_maximum(facts)}"),
            *rows,
            ("predicted", f"{signed(node.predicted_effect)} nats lost without it"),
            ("measured", measured),
        ]
    return [_fact(name, words, width) for name, words in rows]


def _of_maximum(facts: NodeFacts) -> str:
    known = facts.feature
    return f" of at most {number(known.maximum)} in the corpus" if known else ""


def _edge(edge: EdgeView, facts: NodeFacts, width: int) -> list[Text]:
    assert facts.above is not None
    above, _ = describe(facts.above, facts.tokens)
    inputs = above if edge.target == facts.above.node else describe(facts.node, facts.tokens)[0]
    units = "nats" if facts.above.kind == "logit" and edge.target == facts.above.node else "its units"
    lines = [
        Text(fit(f"to {above}" if edge.target == facts.above.node else f"from {above}", width), style="bold"),
        _fact("share", f"{signed(edge.share)}: {percent(abs(edge.share))} of the inputs of {inputs}", width),
        _fact("effect", f"{signed(edge.effect)} {units}", width),
    ]
    if edge.direct_effect is not None:
        verdict = f"{VERDICT_GLYPH[edge.verdict]} {edge.verdict}"
        lines.append(_fact("measured", f"{signed(edge.direct_effect)} all else held  {verdict}", width))
        lines.append(_fact("", f"{signed(edge.total_effect)} nothing held", width))
    return lines


def _fact(name: str, words: str, width: int) -> Text:
    line = Text(f"{name:<{_LABEL_CELLS}}", style="dim")
    return line.append(fit(words, max(width - _LABEL_CELLS, 1)), style="not dim")


def _wrapped(words: str, width: int, style: str = "") -> list[Text]:
    """Inert words in at most three lines."""
    lines: list[str] = [""]
    for word in words.split(" "):
        joined = f"{lines[-1]} {word}".strip()
        if Text(joined).cell_len <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return [Text(fit(line, width), style=style) for line in lines[:3]]
