"""What a validation looks like: everything that it measured, nothing that it does not know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workbench.render.golden import assert_golden, printed
from tests.workbench.render.test_views import HOSTILE
from workbench.tui.render.validation import validation_view

SIZES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
CURVES = {
    "predicted_effect": {"faithfulness": [0, 0.1, 0.3, 0.5, 0.62, 0.7, 0.81, 1.2, 1.0, 1.0], "cpr": 0.93, "cmd": 0.11},
    "random": {"faithfulness": [-0.2] * 9 + [1.0], "cpr": 0.1, "cmd": 1.02},
}


def agreement(n: int, pearson: float | None) -> dict[str, Any]:
    """Numbers of one predictor."""
    interval = None if pearson is None else [pearson - 0.05, pearson + 0.01]
    return {"n": n, "pearson": pearson, "spearman": pearson, "slope": 1.02, "pearson_interval": interval,
            "within_factor_two": None if pearson is None else 0.95}  # fmt: skip


def node(name: str, effect: float | None, verdict: str, **marks: bool) -> dict[str, Any]:
    """One line of the table."""
    return {
        "node": name,
        "share": -0.3,
        "predicted_effect": 0.84,
        "measured_effect": effect,
        "verdict": verdict,
    } | marks


GRAPH: dict[str, Any] = {
    "nodes": [
        node("L4/91@3", 0.79, "confirmed"),
        node("L0/345@-1", -0.5, "contradicted", large_write=True),
        node("L12/9@2", None, "untested", failed=True),
    ],
    "pearson_predicted": 0.42, "pearson_predicted_interval": [0.31, 0.55],
    "spearman_predicted": 0.4, "spearman_predicted_interval": None,
    "pearson_influence": 0.1, "pearson_influence_interval": [-0.2, 0.3],
    "spearman_influence": None, "spearman_influence_interval": None,
    "metric": f"logit({HOSTILE!r}) - the mean logit, nats", "baseline": 14.2, "probability": 0.995,
    "verdicts": {"confirmed": 1, "weak": 0, "contradicted": 1, "untested": 1},
    "swaps": {"n": 2, "pearson": None, "slope": 0.9},
    "controls": {"n": 10, "pearson": 0.5, "mean_absolute_effect": 0.01, "of_kept_features": 0.4},
    "noise_floor": 0.002, "faithfulness": 0.7, "completeness": None,
    "circuit": {"whole": 14.2, "circuit": 10.1, "features": 3, "removal": "zero"},
    "sizes": SIZES, "curves": CURVES | {"share": {"faithfulness": [None] * 10, "cpr": None, "cmd": None}},
    "untested_leaves": {"errors": 4, "tokens": 6},
    "marks": {"saturated": True, "below_noise": 0, "large_writes": 1, "failed_runs": 1},
    "edge_agreement": {
        "strongest": {"effect": agreement(40, 0.99), "share": agreement(40, 0.71), "total": agreement(40, 0.98)},
        "controls": {"effect": agreement(2, None), "share": agreement(2, None), "total": agreement(2, None)},
    },
    "supernodes": [
        {"name": HOSTILE, "features": 3, "first_order": 0.5, "predicted_effect": 0.41, "measured_effect": 0.4,
         "control_effect": None, "verdict": "confirmed"},
        {"name": "words", "features": 0, "first_order": None, "predicted_effect": None, "measured_effect": None,
         "control_effect": None, "verdict": "untested"},
    ],
    "summary": "not faithful: predicted effects do not hold in the real model (Pearson 0.420)",
}  # fmt: skip
OUTCOME = {"accuracy": 1.0, "logit_difference": 4.97}
BEHAVIOUR: dict[str, Any] = {
    "behaviour": "two_hop" + HOSTILE, "dictionary": "sae", "alignment": "offset from the end", "recurring": 2,
    "features": [
        {"feature": "L22/1503@-1", "layer": 22, "index": 1503, "offset": -1, "prompts": 4, "frequency": 1.0,
         "expected_frequency": 0.117, "mean_predicted_effect_nats": -0.308},
        {"feature": "L7/3@-4", "layer": 7, "index": 3, "offset": -4, "prompts": 2, "frequency": 0.5,
         "expected_frequency": 0.02, "mean_predicted_effect_nats": None},
    ],
    "features_by_layer": {"7": 1, "22": 1}, "random_features": [2, 2], "removal": "zero",
    "effects": {
        "found_on": {"prompts": 4, **OUTCOME, "ablated": {"accuracy": 0.25, "logit_difference": -1.25},
                     "random": [OUTCOME, OUTCOME]},
        "held_out": None,
    },
    "sizes": SIZES, "curves": CURVES, "cpr": 0.93, "cmd": 0.11,
    "summary": "the 2 recurring features matter: without them accuracy 1.00 to 0.25",
}  # fmt: skip
VIEWS = {"validation": GRAPH, "validation_behaviour": BEHAVIOUR}


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("name", VIEWS)
def test_given_a_validation_when_rendered_then_it_reads_as_the_golden_file(name: str, width: int) -> None:
    assert_golden(name, validation_view(VIEWS[name]), width)


@pytest.mark.parametrize("name", VIEWS)
def test_given_hostile_names_when_rendered_then_no_control_reaches_the_terminal(name: str) -> None:
    text = printed(validation_view(VIEWS[name]), 80)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_given_bad_numbers_when_rendered_then_they_are_said_and_unknown_ones_are_dashes() -> None:
    text = printed(validation_view(GRAPH), 160)
    assert "not faithful" in text and "untested, run failed" in text and "contradicted, large write" in text
    assert "saturated yes" in text and "failed_runs 1" in text and "nan" not in text.lower()


def test_given_no_edges_and_no_supernodes_when_rendered_then_nothing_is_said_of_them() -> None:
    none = {"effect": agreement(0, None), "share": agreement(0, None), "total": agreement(0, None)}
    bare = GRAPH | {"supernodes": [], "edge_agreement": {"strongest": none, "controls": none}}
    text = printed(validation_view(bare), 160)
    assert "supernode" not in text and "rest held" not in text
