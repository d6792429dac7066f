"""Outcomes at their bounds, overlaps that are planted and ones that are not, and the positions of a window."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.behaviours import Where
from tasks.reproduction.pair_bench import window_positions
from tasks.reproduction.shared import Member, jaccard, run_shared
from tasks.reproduction.verdict import (
    HALVED,
    Outcome,
    Verdict,
    common_outcome,
    overall,
    shared_outcome,
    swap_outcome,
)

YES, PARTLY, NO, UNTESTED = Outcome.SUPPORTED, Outcome.PARTLY, Outcome.NOT_SUPPORTED, Outcome.UNTESTED
GROUPS, CONCEPTS = ("en", "fr", "zh"), ("small", "hot", "high")


@pytest.mark.parametrize(
    ("flipped", "moved", "controls", "expected"),
    [
        (1.0, 1.0, [0.0, 0.1], YES),
        (0.5, 0.5, [0.0], YES),
        (0.25, 0.9, [0.0], PARTLY),
        (1.0, 0.4, [0.0], PARTLY),
        (0.0, 0.15, [0.04], PARTLY),
        (0.0, 0.05, [0.0], NO),
        (1.0, 0.9, [0.85], NO),
        (1.0, 0.9, [0.6], NO),
        (1.0, 0.9, [], YES),
        (0.0, -0.5, [-0.9], NO),
        (1.0, math.nan, [0.0], NO),
    ],
)
def test_given_a_swap_when_judged_then_it_must_beat_every_control(
    flipped: float, moved: float, controls: Sequence[float], expected: Outcome
) -> None:
    assert swap_outcome(flipped, moved, controls) is expected


@pytest.mark.parametrize(
    ("lost", "controls", "expected"),
    [
        (HALVED, [0.1], YES),
        (HALVED, [HALVED / 2 + 0.01], NO),
        (HALVED * 0.6, [0.1], PARTLY),
        (0.1, [0.0], NO),
        (-1.0, [-2.0], NO),
        (3.0, [], YES),
        (math.nan, [0.0], NO),
    ],
)
def test_given_a_removal_when_judged_then_it_must_lose_twice_what_any_control_does(
    lost: float, controls: Sequence[float], expected: Outcome
) -> None:
    assert common_outcome(lost, controls) is expected


def test_given_an_overlap_when_judged_then_difference_and_p_decide() -> None:
    assert [shared_outcome(*each) for each in ((0.2, 0.03), (0.2, 0.1), (0.2, 0.5), (-0.1, 0.01))] == [
        YES, PARTLY, NO, NO,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([YES, YES], Verdict.SUPPORTED),
        ([NO, NO, UNTESTED], Verdict.NOT_SUPPORTED),
        ([YES, NO], Verdict.PARTLY),
        ([PARTLY], Verdict.PARTLY),
        ([UNTESTED], Verdict.UNTESTED),
        ([], Verdict.UNTESTED),
    ],
)
def test_given_outcomes_when_put_together_then_what_they_agree_on_is_the_verdict(
    outcomes: list[Outcome], verdict: Verdict
) -> None:
    assert overall(outcomes) is verdict


def members(same_concept: int, seed: int = 0) -> list[Member]:
    """One member a group and concept: 20 features of its own at random, and `same_concept` of its concept's."""
    generator = random.Random(seed)
    return [
        Member(
            group,
            concept,
            frozenset((0, 1000 * number + each) for each in range(same_concept))
            | frozenset((1, generator.randrange(60)) for _ in range(20)),
        )
        for group in GROUPS
        for number, concept in enumerate(CONCEPTS)
    ]


def test_given_planted_concept_features_when_compared_then_the_overlap_is_supported_and_else_it_is_not() -> None:
    planted = run_shared(members(8), seed=0)
    assert planted.outcome is YES
    assert planted.evidence["same"] > planted.evidence["different"]
    assert planted.evidence["p"] == pytest.approx(6 / 6**3)  # the same shuffle in all groups is no shuffle
    outcomes = [run_shared(members(0, seed), seed=0).outcome for seed in range(6)]
    assert YES not in outcomes


def test_given_concepts_in_one_group_when_compared_then_nothing_is_tested() -> None:
    alone = [member for member in members(8) if member.group == "en"]
    assert run_shared(alone, 0).outcome is UNTESTED
    one_concept = [member for member in members(8) if member.concept == "hot"]
    assert run_shared(one_concept, 0).outcome is UNTESTED
    odd = [*alone, replace(alone[0], group="fr"), replace(alone[1], group="fr", concept="elsewhere")]
    assert run_shared(odd, 0).outcome is UNTESTED


def test_given_many_members_when_shuffled_by_draws_then_the_planted_overlap_is_found_too() -> None:
    concepts = [str(number) for number in range(7)]
    many = [
        Member(group, concept, frozenset({(0, int(concept)), (1, random.Random(group + concept).randrange(9))}))
        for group in GROUPS
        for concept in concepts
    ]
    tested = run_shared(many, 3)
    assert (tested.outcome, tested.evidence["shuffles"]) == (YES, 2000)
    assert tested == run_shared(many, 3)


@given(st.frozensets(st.tuples(st.just(0), st.integers(0, 9))), st.frozensets(st.tuples(st.just(0), st.integers(0, 9))))
def test_given_two_sets_when_compared_then_the_index_is_symmetric_and_one_only_of_equals(
    first: frozenset[tuple[int, int]], second: frozenset[tuple[int, int]]
) -> None:
    assert jaccard(first, second) == jaccard(second, first)
    assert (jaccard(first, second) == 1.0) == (first == second and bool(first))


def test_given_a_pair_when_a_window_is_named_then_its_positions_are_these() -> None:
    clean, corrupt = [9, 1, 2, 3, 4, 5], [9, 1, 7, 3, 8, 5]
    found = {where: window_positions(clean, corrupt, where) for where in Where}
    assert found == {
        Where.SUBJECT: (2, 4),
        Where.BETWEEN: (2, 3, 4),
        Where.LAST: (5,),
        Where.ANYWHERE: (1, 2, 3, 4, 5),
    }
    assert window_positions([1, 2], [3, 2], Where.SUBJECT) == ()
    assert window_positions([1, 2], [3, 2], Where.BETWEEN, start=0) == (0,)
