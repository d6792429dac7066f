"""The judgement of a validation, at the edges of its rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.graphs.validation_summary import behaviour_summary, graph_summary

GOOD: dict[str, Any] = {
    "pearson_predicted": 0.95,
    "faithfulness": 0.9,
    "controls": {"of_kept_features": 0.2, "mean_absolute_effect": 0.01},
    "verdicts": {"confirmed": 5, "weak": 0, "contradicted": 0, "untested": 0},
    "marks": {"saturated": False, "below_noise": 0, "large_writes": 0, "failed_runs": 0},
    "probability": 0.4,
}


@pytest.mark.parametrize(
    ("changes", "faithful"),
    [
        ({}, True),
        ({"pearson_predicted": 0.9}, True),
        ({"pearson_predicted": 0.8999}, False),
        ({"pearson_predicted": -0.95}, False),
        ({"pearson_predicted": None}, False),
        ({"faithfulness": 0.8}, True),
        ({"faithfulness": 0.7999}, False),
        ({"faithfulness": 1.2}, True),
        ({"faithfulness": 1.2001}, False),
        ({"faithfulness": -0.5}, False),
        ({"faithfulness": None}, False),
        ({"controls": {"of_kept_features": 0.01, "mean_absolute_effect": 0.01}}, False),
        ({"controls": {"of_kept_features": 0.0101, "mean_absolute_effect": 0.01}}, True),
        ({"controls": {"of_kept_features": 0.01, "mean_absolute_effect": None}}, True),
    ],
)
def test_given_numbers_at_the_edge_when_judged_then_not_faithful_is_said_just_beyond_it(
    changes: dict[str, Any], faithful: bool
) -> None:
    words = graph_summary(GOOD | changes)
    assert words.startswith("faithful: " if faithful else "not faithful: ")


@given(st.floats(-1, 1) | st.none(), st.floats(-3, 3) | st.none())
def test_given_any_numbers_when_judged_then_faithful_needs_both(
    pearson: float | None, faithfulness: float | None
) -> None:
    words = graph_summary(GOOD | {"pearson_predicted": pearson, "faithfulness": faithfulness})
    good = pearson is not None and faithfulness is not None and pearson >= 0.9 and abs(1 - faithfulness) <= 1 - 0.8
    assert words.startswith("faithful") == good


def test_given_a_circuit_that_fails_when_judged_then_what_does_hold_is_still_said() -> None:
    words = graph_summary(GOOD | {"faithfulness": 0.06})
    assert "6 % of the behaviour" in words and "single features hold (Pearson 0.950)" in words
    assert "hold" not in graph_summary(GOOD | {"faithfulness": 0.06, "pearson_predicted": None})


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("marks", {"saturated": True}, "saturated (clean p 0.4000)"),
        ("marks", {"below_noise": 3}, "3 effects are below the noise"),
        ("marks", {"large_writes": 2}, "2 features write more than half of the stream"),
        ("marks", {"failed_runs": 1}, "1 runs failed"),
        ("verdicts", {"contradicted": 2}, "2 of 7 tested features are contradicted"),
        ("verdicts", {"untested": 4}, "4 features were not tested"),
    ],
)
def test_given_a_mark_when_judged_then_it_is_said_and_without_it_nothing(
    key: str, change: dict[str, Any], words: str
) -> None:
    assert words in graph_summary(GOOD | {key: GOOD[key] | change})
    assert words.partition("(")[0] not in graph_summary(GOOD)


def behaviour(lost: float, random: list[float], held_out: bool = True) -> dict[str, Any]:
    """A behaviour's document in which the features cost `lost` nats, and each draw of random ones so many."""
    outcomes = [{"accuracy": 0.5, "logit_difference": 4 - cost} for cost in (0.0, lost, *random)]
    effects = {"prompts": 3, **outcomes[0], "ablated": outcomes[1], "random": outcomes[2:]}
    return {
        "features": [{}],
        "recurring": 1,
        "effects": {"held_out": effects if held_out else None, "found_on": effects},
    }


def test_given_a_behaviour_when_judged_then_features_must_cost_more_than_every_random_draw() -> None:
    assert "matter" in behaviour_summary(behaviour(1.0, [0.25, 0.5]))
    assert behaviour_summary(behaviour(0.5, [0.25, 0.5])).startswith("not faithful")
    assert behaviour_summary(behaviour(-1.0, [0.25])).startswith("not faithful")
    assert "for want of random features" in behaviour_summary(behaviour(1.0, []))
    assert "no feature recurs" in behaviour_summary(behaviour(1.0, [0.5]) | {"features": [], "recurring": 0})
    assert "prompts that they were picked from" in behaviour_summary(behaviour(1.0, [0.5], held_out=False))
