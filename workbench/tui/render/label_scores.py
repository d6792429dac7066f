"""Labels with how good they are: lines for a card and a list, and the report of a labelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from store.labels import FLOOR
from workbench.tui.render.bars import number
from workbench.tui.render.facts import facts
from workbench.tui.render.tokens import fit, show_text


def label_report(document: Mapping[str, Any], width: int = 80) -> Group:
    """What a labelling came to: each label with its detection and fuzzing scores, the floor beside them, failures."""
    head = {
        "dictionary": document["dictionary"],
        "judge": document["judge"],
        "labelled": f"{document['labelled']} of {document['chosen']}",
        "detection, median": beside(document["median_detection"], document["median_detection_floor"]),
        "fuzzing, median": beside(document["median_fuzzing"], document["median_fuzzing_floor"]),
    }
    lines: list[RenderableType] = [
        facts(head),
        Text("balanced accuracy; chance is 0.5, the floor goes by tokens alone\n", style="dim"),
    ]
    for each in document["features"]:
        lines.append(Text(fit(f"{each['feature']}  {show_text(each['label'])}", width), no_wrap=True))
        lines += [Text(f"    {line}", style="dim") for line in score_lines(each["scores"])]
    failures = document["failures"]
    if failures:
        lines.append(Text(f"\n{len(failures)} not labelled", style="bold"))
    lines += [Text(fit(f"{each['feature']}  {show_text(each['reason'])}", width)) for each in failures]
    return Group(*lines)


def score_lines(scores: Any) -> list[str]:
    """`detection 0.85 of 20 contexts by JUDGE (by tokens alone 0.70; luck reaches 0.68)`: a line a judge and method."""
    floors = {score["method"]: score["balanced_accuracy"] for score in scores if score["judge"] == FLOOR}
    lines = []
    for score in scores:
        if score["judge"] == FLOOR:
            continue
        floor = number(floors.get(score["method"]), 2)
        lines.append(
            f"{score['method']} {number(score['balanced_accuracy'], 2)} on {score['n']} contexts, by"
            f" {show_text(str(score['judge']))} (tokens alone {floor}, luck to {number(score['luck'], 2)})"
        )
    return lines


def beside(value: float | None, floor: float | None) -> str | None:
    """`0.85 (tokens alone 0.70)`; None where nothing was scored."""
    return None if value is None else f"{number(value, 2)} (tokens alone {number(floor, 2)})"
