"""The embedded model as a judge: what it says is text and answers, and it says the same again."""

from typing import TYPE_CHECKING

import pytest

from tasks.labelling.passages import Evidence, Passage, Question
from tasks.labelling.prompts import SYSTEM, yes_no_request

if TYPE_CHECKING:
    from tasks.model.language_model import LanguageModel

WORDS = [" Paris", " Lyon", " Nice", " Lille"]
SHOWN = [Passage(i, (" We", " saw", word, " again"), (0.0, 0.0, 2.0, 0.0)) for i, word in enumerate(WORDS)]


@pytest.mark.embedded
def test_given_the_embedded_model_when_it_judges_then_labels_are_lines_and_answers_those_of_single_forwards(
    embedded: "LanguageModel",
) -> None:
    from tasks.labelling.model_judge import ModelJudge

    judge = ModelJudge(embedded)
    evidence = Evidence(SHOWN, [Passage(9, (" It", " rained"), (0.0, 0.0))], [], [])
    label = judge.label(evidence)
    assert 0 < len(label) <= 200
    assert "<<" not in label
    questions = [Question(passage, frozenset(), True) for passage in SHOWN[:2]]
    questions += [Question(Passage(8, (" It", " rained", " all", " day", "."), (0.0,) * 5), frozenset(), False)]
    batched = judge.answers("French cities", questions, "detection")
    for question, answer in zip(questions, batched, strict=True):
        request = yes_no_request("French cities", question, "detection")
        tokens = embedded.tokenize(request, chat=True, system=SYSTEM)
        logits = embedded.logits(embedded.token_tensor(tokens))[0, -1]
        yes, no = (logits[[embedded.single_token(w) for w in words]].logsumexp(0) for words in (
            ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")))  # fmt: skip
        assert answer == bool(yes > no)
