"""What judges are asked, in words, and how their answers are read. Answers are hostile text: nothing in them is run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from store.labels import LONGEST_LABEL, check_label
from tasks.labelling.passages import CLOSE, OPEN, Evidence, Question
from tasks.labelling.scoring import Answers, JudgeFailed, Method

SYSTEM = "You study what single features of a language model respond to. You answer briefly and exactly as asked."
WORDS_BEGINNING = "Words such as"
"""How the answer to `words_request` is begun for the judge."""
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_LIST = re.compile(r"\[\s*[01]\s*(?:,\s*[01]\s*)*\]")
_WRAPPING = " \t\"'`*_“”‘’"
_PREFIX = re.compile(
    r"^(label|answer|explanation|the feature (is active|activates|fires) (on|for|in|when))\b[:\s]*", re.I
)


def label_request(evidence: Evidence) -> str:
    """The texts in which the feature is active, marked, the texts in which it is not, and what is wanted."""
    active = "\n".join(f"{at}. {passage.marked(passage.active)}" for at, passage in enumerate(evidence.shown, 1))
    silent = "\n".join(f"{at}. {passage.text}" for at, passage in enumerate(evidence.shown_inactive, 1))
    without = f"\nIn these texts it is not active at all:\n{silent}\n" if silent else ""
    return (
        f"A feature is active on the tokens between {OPEN} and {CLOSE} in these texts:\n{active}\n{without}\n"
        "What do the marked tokens, in their contexts, have in common that the other texts lack? "
        "Answer with one phrase of at most 15 words and nothing else."
    )


def words_request(evidence: Evidence) -> str:
    """The same in the simplest form, for a judge that loses its way among marks: each marked word with its text."""
    pairs = (("".join(p.tokens[at] for at in sorted(p.active)), p.text) for p in evidence.shown)
    texts = "\n".join(f'"{" ".join(words.split())}" in "{text}"' for words, text in pairs)
    return f"{texts}\n\nDescribe these words in one short phrase."


def read_words(answer: str, judge: str) -> str:
    """The label in an answer that goes on from `WORDS_BEGINNING`: its items, each once."""
    items = (item.strip(_WRAPPING + ".:-") for item in re.split(r"[,;\n]", answer))
    return read_label(", ".join(dict.fromkeys(item for item in items if item)), judge)


def yes_no_request(label: str, question: Question, method: Method) -> str:
    """One question, to be answered with yes or no."""
    text = f"A feature of a language model is active on: {label}\n\nText: {question.text}"
    return f"{text}\n\n{_asked(method)} Answer Yes or No."


def list_request(label: str, questions: Sequence[Question], method: Method) -> str:
    """Several questions, to be answered with a list of ones and zeros."""
    texts = "\n".join(f"{at}. {question.text}" for at, question in enumerate(questions, 1))
    return (
        f"A feature of a language model is active on: {label}\n\nTexts:\n{texts}\n\nOf each text: {_asked(method)} "
        f"Answer with a JSON list of {len(questions)} numbers in the order of the texts, 1 for yes and 0 for no, and "
        "nothing else."
    )


def read_label(answer: str, judge: str) -> str:
    """The label in an answer: its first line that says anything, without quotes, cut to what a label may be."""
    lines = [line.strip(_WRAPPING) for line in _THOUGHT.sub("", answer).splitlines()]
    first = next((line for line in lines if any(map(str.isalnum, line))), "")
    label = " ".join(_PREFIX.sub("", first).strip(_WRAPPING).split()).rstrip(".")
    if not any(map(str.isalnum, label)) or OPEN in label or CLOSE in label:
        fault = "repeated the question" if label else "gave no label"
        raise JudgeFailed(f"{judge} {fault}", "ask another judge, or label it by hand")
    if len(label) > LONGEST_LABEL:
        label = label[: LONGEST_LABEL - 1].rsplit(" ", 1)[0] + "…"
    return check_label(label)


def read_list(answer: str, n: int) -> Answers:
    """The last list of `n` ones and zeros in an answer; `n` times None if there is none."""
    found = [json.loads(text) for text in _LIST.findall(_THOUGHT.sub("", answer))]
    fitting = [values for values in found if len(values) == n]
    return [value == 1 for value in fitting[-1]] if fitting else [None] * n


def _asked(method: Method) -> str:
    if method == "detection":
        return "Is the feature active anywhere in the text?"
    return f"Are the tokens between {OPEN} and {CLOSE} those that the feature is active on?"
