"""The views of head loadings, query-key scores and prompt sets, as they were when a person found them right."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.graphs.recurrence import PromptFeature, PromptGraph, recurrence
from tests.workbench.render.golden import assert_golden, printed
from workbench.tui.render.heads import heads_view, query_key_view
from workbench.tui.render.prompt_set import prompt_set_view

WIDTHS = [80, 160]
TOKENS = ["The", " capital", " of", " \x1b[31mFrance", " is"]
HEADS = {
    "graph": 7, "source": "L4/91@3", "target": "logit", "tokens": TOKENS, "edge": 0.4406, "direct": 0.0,
    "heads": [
        {"head": "L16H0", "taken_up": 0.0943, "to": 4, "written": 0.0718, "from": 3},
        {"head": "L1H2", "taken_up": -0.0391, "to": 4, "written": 0.0, "from": 0},
    ],
    "rest": {"heads": 203, "taken_up": 0.3854, "written": 0.3688},
}  # fmt: skip
SCORE = {
    "graph": 7, "head": "L22H3", "tokens": TOKENS, "query": 4, "key": 3, "score": 3.7853, "attention": 0.385,
    "by_query_source": [{"source": "@4", "score": 2.1977}, {"source": "the rest", "score": 1.5876}],
    "by_key_source": [{"source": "L14/600@3", "score": 3.5}, {"source": "constants", "score": 0.2853}],
    "pairs": [{"query": "@4", "key": "L14/600@3", "score": 1.1686}, {"query": "L2@4", "key": "@0", "score": -0.37}],
}  # fmt: skip


def prompt_set() -> dict[str, object]:
    """Two prompts that share one of their features."""
    active = np.array([[0, index, 2] for index in range(20)], dtype=np.int32)
    prompts = [
        PromptGraph(
            f"capitals/{n}", 5, [PromptFeature(0, 3, 2, 0.5, 0.4), PromptFeature(0, 5 + n, 2, 0.1, None)], active
        )
        for n in range(2)
    ]
    graphs = [
        {"graph": 3 + n, "prompt": "The capital of \x1b[31mFrance is", "decisive": " Paris", "rival": " Rome",
         "probability": 0.435, "rank": 2 * n, "replacement_score": 0.86, "completeness_score": 0.95}
        for n in range(2)
    ]  # fmt: skip
    return {"behaviour": "capitals", "graphs": graphs, "recurrence": recurrence(prompts).document()}


@pytest.mark.parametrize("width", WIDTHS)
def test_heads_close_to_the_edge(width: int) -> None:
    shown = printed(heads_view(HEADS), width)
    assert "\x1b" not in shown and shown.count("+0.4406") == 2
    assert_golden("heads", heads_view(HEADS), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_score_is_shown_by_both_sides_and_by_pairs(width: int) -> None:
    shown = printed(query_key_view(SCORE), width)
    assert "\x1b" not in shown and "38.5 % of its attention" in shown
    assert_golden("query_key", query_key_view(SCORE), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_prompt_set_says_whether_the_model_predicts_what_is_explained(width: int) -> None:
    view = prompt_set_view(prompt_set(), width, {(0, 3): "places in \x1b[31mFrance"})
    shown = printed(view, width)
    assert "\x1b" not in shown and "L0/3" in shown
    assert_golden("prompt_set", view, width)
