"""How good a label is: balanced accuracy of a judge that reads only the label, beside one that reads no label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Literal, Protocol

from store.errors import WorkbenchError
from store.labels import FLOOR, LabelScore
from tasks.labelling.passages import Evidence, Passage, Question, detection_questions, fuzzing_questions

Method = Literal["detection", "fuzzing"]
Answers = list[bool | None]
"""Of each question whether it was answered yes; None where no answer could be read."""
MOST_UNANSWERED = 0.5
"""Share of questions without a readable answer beyond which a judge has answered nonsense."""
_WORD = re.compile(r"\w+")


class Judge(Protocol):
    """Who reads passages and says what they have in common, or whether a label fits them."""

    @property
    def name(self) -> str:
        """What scores are kept under."""

    def label(self, evidence: Evidence) -> str:
        """What the feature means, from what is shown; raises `JudgeFailed`."""

    def answers(self, label: str, questions: Sequence[Question], method: Method) -> Answers:
        """Of each question whether the label says yes; raises `JudgeFailed`."""


class JudgeFailed(WorkbenchError):
    """A judge said nothing that can be used, of one feature; `is_down` if it could not even be asked."""

    def __init__(self, fault: str, mend: str, is_down: bool = False) -> None:
        """Take the fault, the mend, and whether the judge could be reached."""
        super().__init__(fault, mend)
        self.is_down = is_down


class TokenOverlap:
    """The floor: no label, only the tokens that the feature was strongest on in what is shown."""

    name = FLOOR

    def __init__(self, shown: Sequence[Passage]) -> None:
        """Remember the marked words of the shown passages, whatever their case."""
        self._words = {word for passage in shown for word in _words(passage, passage.active)}

    def answers(self, questions: Sequence[Question], method: Method) -> Answers:
        """Yes where a token of the text (detection), or a marked one (fuzzing), was a marked one before."""
        return [
            not self._words.isdisjoint(
                _words(q.passage, range(len(q.passage.tokens)) if method == "detection" else q.marks)
            )
            for q in questions
        ]


def scores(judge: Judge, label: str, evidence: Evidence, seed: int) -> list[LabelScore]:
    """Detection and fuzzing by the judge, each beside the floor on the same questions.

    Fuzzing is left out where too few contexts allow a false mark. Raises `JudgeFailed` for nonsense.
    """
    floor = TokenOverlap(evidence.shown)
    draw = Random(seed)
    asked: list[tuple[Method, list[Question]]] = [
        ("detection", detection_questions(evidence, draw)),
        ("fuzzing", fuzzing_questions(evidence, draw)),
    ]
    found = []
    for method, questions in asked:
        if len({question.truth for question in questions}) < 2:
            continue
        given = judge.answers(label, questions, method)
        unanswered = sum(answer is None for answer in given)
        score = scored(method, judge.name, questions, given)
        if unanswered > MOST_UNANSWERED * len(questions) or score is None:
            fault = f"{judge.name} answered {unanswered} of {len(questions)} questions of {method} with nonsense"
            raise JudgeFailed(fault, "ask a judge that follows instructions")
        found.append(score)
        on_floor = scored(method, floor.name, questions, floor.answers(questions, method))
        found += [on_floor] if on_floor else []
    return found


def scored(method: Method, judge: str, questions: Sequence[Question], given: Answers) -> LabelScore | None:
    """Balanced accuracy of the answers; None if no true or no false question was answered."""
    answered = [(q.truth, answer) for q, answer in zip(questions, given, strict=True) if answer is not None]
    right_yes = [answer for truth, answer in answered if truth]
    right_no = [not answer for truth, answer in answered if not truth]
    if not right_yes or not right_no:
        return None
    accuracy = (sum(right_yes) / len(right_yes) + sum(right_no) / len(right_no)) / 2
    unanswered = len(questions) - len(answered)
    return LabelScore(method, judge, accuracy, len(right_yes), len(right_no), unanswered)


def _words(passage: Passage, at: Sequence[int] | frozenset[int] | range) -> set[str]:
    """The tokens at these places without blanks and case; a token without letters or digits stands for itself."""
    found = set()
    for index in at:
        token = passage.tokens[index].strip().lower()
        found |= set(_WORD.findall(token)) or ({token} if token else set())
    return found
