"""What is shown and held out, what is asked, and what balanced accuracy comes to."""

import math
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import WorkbenchError
from store.labels import FLOOR
from tasks.labelling import prompts
from tasks.labelling.passages import Evidence, Passage, Question, detection_questions, divided, fuzzing_questions
from tasks.labelling.scoring import Answers, JudgeFailed, Method, TokenOverlap, scored, scores

TOKENS = 12


@st.composite
def passages(draw: st.DrawFn, active: bool) -> Passage:
    """A passage of words; an active one has at least one activation, an inactive one none."""
    words = tuple(f" w{n}" for n in draw(st.lists(st.integers(0, 9), min_size=TOKENS, max_size=TOKENS)))
    numbers = st.sampled_from([0.0, 0.0, 0.0, 0.1, 1.0, 4.0, math.nan])
    values = draw(st.lists(numbers, min_size=TOKENS, max_size=TOKENS)) if active else [0.0] * TOKENS
    if active:
        values[draw(st.integers(0, TOKENS - 1))] = 2.0
    return Passage(draw(st.integers(0, 40)), words, tuple(values))


evidences = st.builds(
    divided,
    st.lists(passages(active=True), min_size=4, max_size=30),
    st.lists(passages(active=False), min_size=4, max_size=30),
    st.integers(2, 8),
    st.integers(2, 10),
)


class Oracle:
    """A judge that knows the truth, and says `said(truth)` instead."""

    name = "oracle"

    def __init__(self, said: dict[bool, bool | None]) -> None:
        """What is said for true and for false."""
        self._said = said

    def label(self, evidence: Evidence) -> str:
        """Any."""
        return "label"

    def answers(self, label: str, questions: Sequence[Question], method: Method) -> Answers:
        """Through the table."""
        return [self._said[question.truth] for question in questions]


@given(evidences)
def test_given_evidence_when_divided_then_no_document_is_on_both_sides(evidence: Evidence) -> None:
    shown = {passage.document for passage in (*evidence.shown, *evidence.shown_inactive)}
    assert shown.isdisjoint(passage.document for passage in evidence.inactive)
    assert {passage.document for passage in evidence.shown}.isdisjoint(each.document for each in evidence.active)
    peaks = [passage.peak for passage in evidence.shown]
    assert peaks == sorted(peaks, reverse=True)


@given(evidences, st.integers(0, 99))
def test_given_questions_then_marks_are_where_the_feature_is_active_or_as_many_where_it_is_not(
    evidence: Evidence, seed: int
) -> None:
    for question in fuzzing_questions(evidence, Random(seed)):
        values = [question.passage.values[at] for at in question.marks]
        peak = max(value for value in question.passage.values if not math.isnan(value))
        if question.truth:
            assert values
            assert all(value > 0.3 * peak for value in values)
        else:
            assert set(values) == {0.0}
            assert len(values) == sum(value > 0.3 * peak for value in question.passage.values)
    asked = detection_questions(evidence, Random(seed))
    assert [q.truth for q in asked].count(True) == len(evidence.active)
    assert all(q.truth == (q.passage.peak > 0) and not q.marks for q in asked)


@pytest.mark.parametrize(
    ("said", "accuracy"),
    [({True: True, False: False}, 1.0), ({True: False, False: True}, 0.0), ({True: True, False: True}, 0.5),
     ({True: False, False: False}, 0.5)],
)  # fmt: skip
@given(evidence=evidences)
def test_given_a_judge_when_scored_then_truth_is_one_lies_are_nought_and_one_word_is_chance(
    said: dict[bool, bool | None], accuracy: float, evidence: Evidence
) -> None:
    if not (evidence.active and evidence.inactive):
        return
    found = [score for score in scores(Oracle(said), "label", evidence, 0) if score.judge == "oracle"]
    assert found[0].method == "detection"
    assert {score.balanced_accuracy for score in found} == {accuracy}
    assert (found[0].n_active, found[0].n_inactive) == (len(evidence.active), len(evidence.inactive))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([True, False, None])), max_size=40))
def test_given_answers_when_scored_then_it_is_the_mean_of_both_rates(pairs: list[tuple[bool, bool | None]]) -> None:
    questions = [Question(Passage(0, ("a",), (1.0,)), frozenset(), truth) for truth, _ in pairs]
    score = scored("detection", "j", questions, [answer for _, answer in pairs])
    yes = [answer for truth, answer in pairs if truth and answer is not None]
    no = [answer for truth, answer in pairs if not truth and answer is not None]
    if not yes or not no:
        assert score is None
        return
    assert score is not None
    expected = 0.5 * (yes.count(True) / len(yes)) + 0.5 * (no.count(False) / len(no))
    assert score.balanced_accuracy == pytest.approx(expected)
    assert score.unanswered == [answer for _, answer in pairs].count(None)


def test_given_nonsense_when_scored_then_no_score_is_made_of_it() -> None:
    active = [Passage(i, (" a", " b"), (1.0, 0.0)) for i in range(8)]
    evidence = Evidence(active[:4], [], active[4:], [Passage(9, (" c",), (0.0,)), Passage(10, (" d",), (0.0,))])
    with pytest.raises(JudgeFailed, match="nonsense"):
        scores(Oracle({True: None, False: None}), "label", evidence, 0)
    with pytest.raises(JudgeFailed, match="nonsense"):
        scores(Oracle({True: True, False: None}), "label", evidence, 0)


def test_given_a_feature_of_one_token_when_the_floor_is_asked_then_it_knows_all() -> None:
    active = [Passage(i, (" the", " Paris", f" x{i}"), (0.0, 3.0, 0.0)) for i in range(8)]
    silent = [Passage(20 + i, (" the", " other"), (0.0, 0.0)) for i in range(4)]
    evidence = Evidence(active[:4], [], active[4:], silent)
    floors = [
        score for score in scores(Oracle({True: True, False: True}), "label", evidence, 0) if score.judge == FLOOR
    ]
    assert [(score.method, score.balanced_accuracy) for score in floors] == [("detection", 1.0), ("fuzzing", 1.0)]
    assert TokenOverlap(active).answers([Question(Passage(0, ("PARIS",), (0.0,)), frozenset(), True)], "detection") == [
        True
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("[1, 0,1]", [True, False, True]), ("<think>[0,0,0]</think> so: [1,1,1].", [True] * 3), ("[1,0]", [None] * 3),
     ("[1,0,2]", [None] * 3), ("yes", [None] * 3), ("[1,,0]", [None] * 3), ("[] [0,0,0]\n```", [False] * 3),
     ("[0,1,0] no, [1,1,0]", [True, True, False]), ("[1 0 1]", [None] * 3), ("[11,0,1]", [None] * 3)],
)  # fmt: skip
def test_given_an_answer_when_read_then_only_a_fitting_list_counts(answer: str, expected: Answers) -> None:
    assert prompts.read_list(answer, 3) == expected


@given(st.text(max_size=300))
def test_given_any_answer_when_read_as_a_label_then_it_is_one_short_line_or_a_failure(answer: str) -> None:
    try:
        label = prompts.read_label(answer, "judge")
    except WorkbenchError:
        return
    assert 0 < len(label) <= 200
    assert label == " ".join(label.split())


@pytest.mark.parametrize(
    ("answer", "label"),
    [('"cities of France."', "cities of France"), ("**Label:** cities", "cities"),
     ("\n\nThe feature is active on: x y", "x y"),
     ("<think>hm\nhm</think>\nnegation\nbecause", "negation"), ("word " * 100, "word " * 38 + "word…")],
)  # fmt: skip
def test_given_the_usual_forms_when_read_then_the_label_is_what_is_meant(answer: str, label: str) -> None:
    assert prompts.read_label(answer, "judge") == label


@pytest.mark.parametrize("answer", ["", "…", "<think>cities", "the tokens between << and >>"])
def test_given_no_label_when_read_then_it_fails(answer: str) -> None:
    with pytest.raises(JudgeFailed):
        prompts.read_label(answer, "judge")


@pytest.mark.parametrize(
    ("answer", "label"),
    [(' "must", "must", "should"', "must, should"), (":\n- classes\n- subclasses\n- classes", "classes, subclasses")],
)
def test_given_a_list_of_words_when_read_then_each_is_said_once(answer: str, label: str) -> None:
    assert prompts.read_words(answer, "judge") == label
