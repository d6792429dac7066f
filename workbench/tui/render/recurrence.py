"""The features that come back from prompt to prompt, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from workbench.tui.render.bars import bar, number, percent, signed
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import fit, show_text

_SECTIONS = {"anywhere": "features, wherever they are", "by_offset": "features at the same offset from the end"}
_BAR_CELLS = 8
_MOST_PROMPTS = 12


def recurrence_view(
    document: Mapping[str, Any], width: int, words: Mapping[tuple[int, int], str] | None = None, top: int = 12
) -> Group:
    """A recurrence's document on `width` columns; `words` maps (layer, index) to what is known of a feature."""
    prompts: Sequence[str] = document["prompts"]
    parts: list[RenderableType] = [Text(f"{len(prompts)} prompts", style="bold")]
    parts += [_prompt(number, name, document, width) for number, name in enumerate(prompts[:_MOST_PROMPTS])]
    if len(prompts) > _MOST_PROMPTS:
        parts.append(Text(f"… {len(prompts) - _MOST_PROMPTS} more", style="dim"))
    for key, heading in _SECTIONS.items():
        parts += [Text(f"\n{heading}", style="bold"), _summary(document[key])]
        parts += _rows(document[key]["features"], len(prompts), width, words or {}, top)
    legend = "share and effect: means of each prompt's part of Σ|·| over its kept features"
    parts.append(Text("\n" + fit(legend, width), style="dim"))
    return Group(*parts)


def _prompt(row: int, name: str, document: Mapping[str, Any], width: int) -> Text:
    """The prompt, how many features it kept, and how alike it is to the others on the whole."""
    others = [value for column, value in enumerate(document["anywhere"]["jaccard"][row]) if column != row]
    mean = percent(sum(others) / len(others)) if others else "–"
    kept = document["kept_features"][row]
    return Text(fit(f"{row + 1:>3}  {kept:>5} kept  Jaccard {mean:>7}  {show_text(name)}", width))


def _summary(agreement: Mapping[str, Any]) -> RenderableType:
    table = plain_table("between two prompts", "found", "by chance", right=1)
    overlaps = (agreement["mean_overlap"], agreement["expected_overlap"])
    table.add_row(Text("features in both"), *(Text(number(value, 1)) for value in overlaps))
    jaccards = (agreement["mean_jaccard"], agreement["expected_jaccard"])
    table.add_row(Text("Jaccard"), *(Text(percent(value)) for value in jaccards))
    return table


def _rows(
    features: Sequence[Mapping[str, Any]], n_prompts: int, width: int, words: Mapping[tuple[int, int], str], top: int
) -> list[Text]:
    if not features:
        return [Text("none comes back", style="dim")]
    head = f"{'prompts':<{_BAR_CELLS + 8}} {'chance':>7} {'share':>8} {'effect':>8}"
    rows = [Text(head, style="dim")]
    for feature in features[:top]:
        row = Text(bar(feature["frequency"], _BAR_CELLS), style="green")
        row.append(f" {feature['prompts']:>3}/{n_prompts:<3} {percent(feature['expected_frequency']):>7}")
        row.append(f" {signed(feature['mean_share']):>8} {signed(feature['mean_predicted_effect']):>8}")
        said = show_text(words.get((feature["layer"], feature["index"]), ""))
        row.append("  " + fit(f"{feature['feature']}  {said}".rstrip(), max(width - row.cell_len - 2, 1)))
        rows.append(row)
    if len(features) > top:
        rows.append(Text(f"… {len(features) - top} more", style="dim"))
    return rows
