"""What a trained set prints: its figures, its curves, and what the run was expected to take."""

from typing import Any

import pytest

from tests.workbench.render.golden import assert_golden, printed
from workbench.tui.render.training import sparkline, training_view


def layer(number: int) -> dict[str, Any]:
    tokens = [1200 * (i + 1) for i in range(50)]
    return {
        "layer": number, "n_features": 2048, "bottleneck": 32, "l0": 32.0, "fvu": 0.21, "fvu_output": 0.25,
        "dead_share": 0.004, "tokens": 60_000, "wall_seconds": 21.5,
        "curve": {
            "tokens": tokens,
            "loss": [1.0 / (1 + i) + 0.2 for i in range(50)],
            "fvu": [0.9 / (1 + i) + 0.19 for i in range(50)],
            "l0": [32.0] * 50,
            "dead_share": [0.0] * 20 + [0.004] * 30,
            "ce_recovered": [0.5 + i / 200 if i % 10 == 9 else None for i in range(50)],
        },
    }  # fmt: skip


DOCUMENT = {
    "dictionary": "sae",
    "objective": "topk",
    "seconds": 44.0,
    "layers": [layer(7), layer(14)],
    "plan": {
        "groups": [[7, 14]], "rounds": 1, "buffer_bytes": 1 << 29,
        "estimated": {"memory_bytes": 1.5 * 2**30, "disk_bytes": 2**29, "seconds": 50.0},
        "measured": {"memory_bytes": 1.25 * 2**30, "disk_bytes": 2**28, "seconds": 44.0},
    },
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 160])
def test_a_trained_set_shows_figures_curves_and_what_it_took(width: int) -> None:
    assert_golden("training", training_view(DOCUMENT, width), width)


def test_a_document_of_an_earlier_version_shows_without_curves_and_plan() -> None:
    bare = {"dictionary": "sae", "objective": "l1", "layers": [{"layer": 3, "fvu": 0.5}]}
    assert "FVU" in printed(training_view(bare, 80), 80)


def test_a_sparkline_rises_with_its_values_and_leaves_gaps() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1.0, None, 3.0], 3) == "▁ █"
    assert sparkline([2.0, 2.0], 9) == "▁▁"
    assert len(sparkline(list(map(float, range(50))), 20)) == 20
