"""The view of an intervention and its curve: golden renders, hostile text, and what every curve must show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workbench.render.golden import assert_golden, printed
from workbench.tui.render.curve import ABOVE, BELOW, BOTH, MEASURED, PREDICTED, Curve, curve_plot
from workbench.tui.render.intervention import intervention_view

HOSTILE = "\x1b]0;title\x07[red]x[/red]"


def side(logit: float, rival: float, p: float, rank: int, text: str) -> dict[str, Any]:
    """One side of an intervention."""
    return {"logit": logit, "rival_logit": rival, "logit_difference": logit - rival, "probability": p, "rank": rank,
            "continuation": text}  # fmt: skip


def point(dose: float, difference: float, p: float, rank: int) -> dict[str, Any]:
    """One dose."""
    return {"dose": dose, "logit_difference": difference, "delta_logit": difference - 1.5,
            "delta_logit_difference": difference - 3.0, "predicted_delta": -2.0 * dose, "probability": p,
            "rank": rank, "kl": 0.1 * dose * dose}  # fmt: skip


def mover(token: str, before: float, after: float) -> dict[str, Any]:
    """One token that moved."""
    return {"token": token, "before": before, "after": after}


ONE: dict[str, Any] = {
    "tokens": ["The", " capital"],
    "decisive": " French",
    "rival": " Spanish",
    "edits": ["ablate L12/345@7", "steer L8/12=+2max", f'scale "{HOSTILE}"=0.5'],
    "places": 14,
    "dictionary": "demo",
    "graph": None,
    "spelling": "delta",
    "freeze": "none",
    "positions": "generated",
    "baseline": side(14.0, 11.0, 0.435, 0, " French. The official\nlanguage"),
    "outcome": side(11.5, 11.75, 0.101, 2, HOSTILE),
    "delta_logit": -2.5,
    "delta_rival": 0.75,
    "delta_logit_difference": -3.25,
    "predicted_delta": -3.0,
    "logit_difference": {"before": 3.0, "after": -0.25},
    "kl": 0.4321,
    "top": {"before": [[" French", 0.435], [HOSTILE, 0.1]], "after": [[" Spanish", 0.2], [" a" * 40, 0.15]]},
    "movers": {
        "logit": {"up": [mover(" Spanish", 11.0, 11.75), mover(HOSTILE, -3.0, -2.5)], "down": []},
        "probability": {"up": [mover(" Spanish", 0.05, 0.2)], "down": [mover(" French", 0.435, 0.101)]},
    },
    "saturated": False,
    "sweep": None,
}
DIFFERENCES = (6.1, 5.6, 4.9, 4.1, 3.0, 1.4, -0.25, -0.9, -0.4)
SWEPT = ONE | {
    "graph": 3,
    "edits": [f"ablate L1/{feature}@2" for feature in range(20)],
    "baseline": side(14.0, 11.0, 0.995, 0, ""),
    "saturated": True,
    "sweep": {
        "points": [point(-2 + step / 2, y, 0.5 - step / 20, step // 3) for step, y in enumerate(DIFFERENCES)],
        "monotone": False,
    },
}
VIEWS = {"intervention": ONE, "intervention_swept": SWEPT}


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("name", VIEWS)
def test_given_an_intervention_when_rendered_then_it_reads_as_the_golden_file(name: str, width: int) -> None:
    assert_golden(name, intervention_view(VIEWS[name], width), width)


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("name", VIEWS)
def test_given_hostile_text_when_rendered_then_no_control_reaches_the_terminal(name: str, width: int) -> None:
    text = printed(intervention_view(VIEWS[name], width), width)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_given_what_weakens_a_reading_when_rendered_then_it_is_said() -> None:
    weak, sound = (printed(intervention_view(document, 160), 160) for document in (SWEPT, ONE))
    for word in ("saturated", "not monotone"):
        assert word in weak and word not in sound


HEIGHTS = st.floats(-1e4, 1e4)


@given(st.lists(HEIGHTS, min_size=2, max_size=20), HEIGHTS, st.integers(20, 200))
def test_given_any_curve_when_drawn_then_it_fits_and_each_point_stands_at_its_height(
    heights: list[float], level: float, width: int
) -> None:
    curve = Curve([float(x) for x in range(len(heights))], heights, [None] * len(heights), level)
    *rows, axis, _ = curve_plot(curve, width).plain.splitlines()
    assert len(rows) == 11 and all(len(line) <= width for line in (*rows, axis))
    corner = axis.index("└")
    drawn = {(column, row) for row, line in enumerate(rows) for column, mark in enumerate(line) if mark == MEASURED}
    columns = sorted({column for column, _ in drawn})
    assert columns[0] == corner + 1 and columns[-1] == len(axis) - 1
    if len(columns) == len(heights):
        by_height = [next(row for at, row in drawn if at == column) for column in columns]
        pairs = zip(heights, by_height, strict=True)
        in_order = [row for _, row in sorted(pairs, key=lambda pair: -pair[0])]
        assert in_order == sorted(in_order)


def test_given_predictions_beyond_the_measured_range_when_drawn_then_arrows_tell_where() -> None:
    plot = curve_plot(Curve([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], [0.0, 1.5, 99.0, -99.0], 0.0), 60).plain
    rows = plot.splitlines()
    assert ABOVE in rows[0] and any(BELOW in row for row in rows[-4:])
    assert plot.count(BOTH) == 1 and plot.count(PREDICTED) == 1


def test_given_a_flat_curve_when_drawn_then_all_points_stand_on_the_level() -> None:
    rows = curve_plot(Curve([0.0, 1.0], [2.0, 2.0], [2.0, None], 2.0), 40).plain.splitlines()
    assert rows[5].count(BOTH) == 1 and rows[5].count(MEASURED) == 1
