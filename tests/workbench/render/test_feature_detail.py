"""Moments, examples by quantile and neighbours on a feature's card."""

from typing import Any

import pytest

from tests.workbench.render.golden import assert_golden, printed
from tests.workbench.render.test_feature_views import CARD, HOSTILE, ROW, TOKENS
from workbench.tui.render.feature_card import feature_card


def example(activation: float) -> dict[str, Any]:
    return {"document": 4, "position": 2, "activation": activation, "tokens": TOKENS, "at": 2,
            "values": [None, 0.0, activation, 0.0, activation / 2, None]}  # fmt: skip


def near(**likeness: float) -> dict[str, Any]:
    return ROW.document() | likeness


DESCRIBED = CARD | {
    "moments": {"standard_deviation": 1.5, "skewness": 0.25, "kurtosis": 3.125},
    "quantiles": [{"from": 0.8, "to": 1.0, "contexts": [example(9.0), example(8.0)]},
                  {"from": 0.0, "to": 0.2, "contexts": [example(0.5)]}],
    "lowest": [example(-3.5)],
    "neighbours": {"by_decoder": [near(cosine=0.91), {"feature": "L4/7", "cosine": 0.5}] + [near(cosine=0.1)] * 8,
                   "by_coactivation": [near(share=0.75)]},
}  # fmt: skip


@pytest.mark.parametrize("width", [58, 100])
def test_given_all_that_an_index_says_when_rendered_then_it_reads_as_the_golden_file(width: int) -> None:
    assert_golden("described_feature_card", feature_card(DESCRIBED, width), width)


def test_given_a_card_then_every_number_stands_under_what_it_is_and_nothing_hostile_is_printed() -> None:
    text = printed(feature_card(DESCRIBED, 100), 100)
    assert "standard deviation 1.50" in text
    assert "kurtosis 3.12" in text
    for section, value in (("by quantile", "9.00"), ("80 % – 100 %", "8.00"), ("0 % – 20 %", "0.50"),
                           ("below zero", "−3.50"), ("(cosine)", "0.910"), ("active together", "0.750")):  # fmt: skip
        assert value in text.split(section)[1], section
    assert HOSTILE not in text
    assert "\x1b]" not in text


def test_given_a_feature_of_an_earlier_index_then_its_card_is_as_it_was() -> None:
    unknown = {"moments": None, "quantiles": None, "lowest": None, "neighbours": None}
    assert printed(feature_card(CARD | unknown, 80), 80) == printed(feature_card(CARD, 80), 80)
