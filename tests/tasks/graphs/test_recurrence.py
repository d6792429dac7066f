"""Recurrence over prompts, against sets written out and against every draw that chance could make."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.graphs.recurrence import PromptFeature, PromptGraph, recurrence

Active = list[tuple[int, int, int]]
Places = set[tuple[int, ...]]


def prompt(name: str, n_positions: int, active: Active, kept: dict[int, tuple[float, float | None]]) -> PromptGraph:
    """A prompt with these active (layer, index, position), of which those numbered in `kept` are kept."""
    features = [PromptFeature(*active[number], *numbers) for number, numbers in kept.items()]
    return PromptGraph(name, n_positions, features, np.array(active).reshape(-1, 3))


ACTIVE: Active = [(0, 1, 1), (0, 1, 2), (0, 5, 2), (3, 2, 2)]


def test_given_a_feature_elsewhere_in_each_prompt_when_compared_then_it_recurs_by_offset_only_where_equal() -> None:
    first = prompt("a", 3, ACTIVE, {0: (1.0, 2.0), 1: (1.0, 2.0), 3: (-2.0, 4.0)})
    second = prompt("b", 4, [(0, 1, 3), (3, 2, 1)], {0: (0.5, 1.0), 1: (0.5, None)})
    found = recurrence([first, second])
    names = {feature.name: feature for feature in found.anywhere.features}
    assert names.keys() == {"L0/1", "L3/2"}
    both = names["L0/1"]
    assert (both.n_prompts, both.frequency) == (2, 1.0)
    assert both.mean_share == pytest.approx((2 / 4 + 0.5 / 1) / 2)
    assert both.mean_share_nats == pytest.approx((2 + 0.5) / 2)
    assert both.mean_predicted_effect_nats == pytest.approx((4 + 1) / 2)
    assert names["L3/2"].mean_predicted_effect is None
    offsets = {feature.name: feature.n_prompts for feature in found.by_offset.features}
    assert offsets == {"L0/1@-1": 2, "L0/1@-2": 1, "L3/2@-1": 1, "L3/2@-3": 1}
    assert found.anywhere.mean_jaccard == 1.0
    assert found.by_offset.mean_jaccard == pytest.approx(1 / 4)


def test_given_one_prompt_or_none_that_keeps_anything_when_compared_then_nothing_is_made_up() -> None:
    single = recurrence([prompt("a", 3, ACTIVE, {0: (1.0, None)})]).document()
    assert single["anywhere"]["mean_jaccard"] is None
    assert [feature["feature"] for feature in single["anywhere"]["features"]] == ["L0/1"]
    empty = recurrence([prompt("a", 3, ACTIVE, {}), prompt("b", 3, [], {})]).document()
    assert empty["anywhere"]["features"] == [] and empty["anywhere"]["mean_jaccard"] == 0.0
    assert recurrence([]).document()["prompts"] == []


@st.composite
def prompts(draw: st.DrawFn) -> PromptGraph:
    """A prompt of up to three positions with a few active features in two layers."""
    n_positions = draw(st.integers(1, 3))
    places = st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, n_positions - 1))
    active = sorted(draw(st.sets(places, max_size=6)))
    numbers = draw(st.sets(st.integers(0, len(active) - 1))) if active else set()
    shares = st.floats(-3, 3, allow_nan=False)
    return prompt("p", n_positions, active, {number: (draw(shares), draw(shares)) for number in sorted(numbers)})


def sets(graph: PromptGraph, aligned: bool) -> tuple[Places, Places]:
    """(kept, active) places as tuples, with the offset from the end or without."""

    def place(layer: int, index: int, position: int) -> tuple[int, ...]:
        return (layer, index, position - graph.n_positions) if aligned else (layer, index)

    kept = {place(f.layer, f.index, f.position) for f in graph.features}
    return kept, {place(*row) for row in graph.active.tolist()}


def draws(kept: Places, active: Places) -> list[Places]:
    """Every choice of as many active places of each layer as were kept."""
    layers = sorted({place[0] for place in active})
    by_layer = [
        list(combinations([a for a in active if a[0] == layer], sum(k[0] == layer for k in kept))) for layer in layers
    ]
    return [set().union(*chosen) for chosen in product(*by_layer)]


@settings(max_examples=60, deadline=None)
@given(st.lists(prompts(), min_size=2, max_size=2), st.booleans())
def test_given_two_prompts_when_compared_then_chance_is_the_mean_over_every_draw(
    graphs: list[PromptGraph], aligned: bool
) -> None:
    found = recurrence(graphs)
    agreement = found.by_offset if aligned else found.anywhere
    (kept_a, active_a), (kept_b, active_b) = (sets(graph, aligned) for graph in graphs)
    every = [len(a & b) for a in draws(kept_a, active_a) for b in draws(kept_b, active_b)]
    assert agreement.expected_overlap[0, 1] == pytest.approx(np.mean(every))
    assert agreement.overlap[0, 1] == len(kept_a & kept_b)
    union = len(kept_a | kept_b)
    assert agreement.jaccard[0, 1] == pytest.approx(len(kept_a & kept_b) / union if union else 0.0)
    assert sum(feature.n_prompts for feature in agreement.features) == len(kept_a) + len(kept_b)
    expected_count = sum(2 * feature.expected_frequency for feature in agreement.features)
    chance = [{place: np.mean([place in d for d in draws(*pair)]) for place in kept_a | kept_b}
              for pair in ((kept_a, active_a), (kept_b, active_b))]  # fmt: skip
    assert expected_count == pytest.approx(sum(sum(part.values()) for part in chance))
