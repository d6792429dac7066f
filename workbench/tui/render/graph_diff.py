"""Two graphs side by side: what they share, what only one of them has, and what changed most."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tasks.graphs.diff import FEATURE_KINDS, Diff, NodePair
from workbench.tui.render.bars import number, percent, signed
from workbench.tui.render.facts import plain_table
from workbench.tui.render.features import about
from workbench.tui.render.tokens import fit, show_text, show_token

_SECTIONS = {"both": "in both, the greatest change first", "a": "only in A", "b": "only in B"}
_WIDE = 120
_LONGEST_DIFFERENCE = 8


def diff_view(diff: Diff, width: int, top: int = 12) -> Group:
    """Both graphs' prompts and scores, how far they agree, and the features that differ, on `width` columns."""
    parts: list[RenderableType] = [*_heading(diff, width), Text(""), _scores(diff), Text(""), _agreement(diff)]
    for where, words in _SECTIONS.items():
        pairs = [pair for pair in diff.nodes if pair.where == where and pair.key[0] in FEATURE_KINDS]
        if pairs:
            parts += [Text(f"\n{words}: {len(pairs)}", style="bold"), *_rows(diff, pairs, width, top)]
    return Group(*parts)


def _heading(diff: Diff, width: int) -> list[Text]:
    lines = [
        Text(fit(f"{name}  graph {side.record.id}  {show_text(side.record.prompt)}", width), style="bold")
        for name, side in (("A", diff.a), ("B", diff.b))
    ]
    lines += [Text(fit("! " + show_text(warning), width), style="yellow") for warning in diff.warnings]
    if diff.tokens:
        shown = [f"@{offset} {_token(a)} → {_token(b)}" for offset, a, b in diff.tokens[:_LONGEST_DIFFERENCE]]
        more = f"  … {len(diff.tokens)}" if len(diff.tokens) > _LONGEST_DIFFERENCE else ""
        lines.append(Text(fit("tokens that differ: " + "  ".join(shown) + more, width)))
    return lines


def _token(text: str | None) -> str:
    return "–" if text is None else show_token(text)


def _scores(diff: Diff) -> RenderableType:
    table = plain_table("", "A", "B", right=1)
    first, second = diff.a.record, diff.b.record
    for words, name in (("replacement", "replacement_score"), ("completeness", "completeness_score")):
        table.add_row(Text(words), *(Text(number(getattr(record, name))) for record in (first, second)))
    for words, name in (("node threshold", "node_threshold"), ("edge threshold", "edge_threshold")):
        thresholds = [record.summary.get(name) for record in (first, second)]
        if thresholds != [None, None]:
            table.add_row(Text(words), *(Text(number(threshold, 2)) for threshold in thresholds))
    table.add_row(Text("nodes"), *(Text(str(len(side.view.nodes))) for side in (diff.a, diff.b)))
    for one, other in zip(first.targets[:1], second.targets[:1], strict=True):
        cells = [f"{show_token(str(t['token']))} {number(t['value'])}" for t in (one, other)]
        table.add_row(Text("target, nats"), *map(Text, cells))
    return table


def _agreement(diff: Diff) -> RenderableType:
    table = plain_table("", "both", "only A", "only B", "Jaccard", "by share", "by effect", right=1)
    for name, overlap in (("features", diff.features), ("edges", diff.edges)):
        counts = (overlap.both, overlap.only_a, overlap.only_b)
        parts = (overlap.jaccard, overlap.weighted_by_share, overlap.weighted_by_effect)
        table.add_row(Text(name), *(Text(str(count)) for count in counts), *(Text(percent(part)) for part in parts))
    return table


def _rows(diff: Diff, pairs: Sequence[NodePair], width: int, top: int) -> list[Text]:
    columns = [("predicted_effect", "effect")]
    if width >= _WIDE:
        columns += [("measured_effect", "real"), ("share", "share")]
    heads = "".join(f"{head + ' A':>9}{'B':>9}{'B−A':>9}" for _, head in columns)
    rows = [Text(heads, style="dim")]
    for pair in pairs[:top]:
        row = Text("".join(f"{signed(value):>9}" for name, _ in columns for value in pair.number(name)))
        row.append("  " + fit(_describe(diff, pair), max(width - row.cell_len - 2, 1)))
        rows.append(row)
    if len(pairs) > top:
        rows.append(Text(f"… {len(pairs) - top} more", style="dim"))
    return rows


def _describe(diff: Diff, pair: NodePair) -> str:
    node = pair.shown
    if node.members:
        return f"[{show_text(node.name)}]  {len(node.members)} members"
    tokens = (diff.a if pair.a else diff.b).view.tokens
    words = show_text(node.label) if node.label else about(node.fires_on, node.promoted)
    return f"{pair.name} {show_token(tokens[node.position])}  {words}"
