"""What a judge reads: stretches of text with one feature's activation on each token, shown ones and held-out ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

OPEN, CLOSE = "<<", ">>"
"""What stands around the marked tokens of a text."""
MARKED_ABOVE = 0.3
"""Share of a passage's largest activation above which a token is marked (delphi's threshold)."""


@dataclass(frozen=True)
class Passage:
    """A stretch of one document; `values` are one feature's activations, NaN where not known."""

    document: int
    tokens: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def peak(self) -> float:
        """The largest known activation."""
        return max((value for value in self.values if math.isfinite(value)), default=0.0)

    @property
    def text(self) -> str:
        """The plain text, on one line."""
        return _one_line("".join(self.tokens))

    @property
    def active(self) -> frozenset[int]:
        """Which tokens are marked: those whose activation is more than 0.3 of the largest."""
        floor = MARKED_ABOVE * self.peak
        return frozenset(at for at, value in enumerate(self.values) if value > 0 and value > floor)

    def marked(self, at: Iterable[int]) -> str:
        """The text with `<<` and `>>` around each run of marked tokens."""
        chosen = set(at)
        parts = []
        for index, token in enumerate(self.tokens):
            opens = OPEN if index in chosen and index - 1 not in chosen else ""
            closes = CLOSE if index in chosen and index + 1 not in chosen else ""
            parts.append(f"{opens}{token}{closes}")
        return _one_line("".join(parts))


@dataclass(frozen=True)
class Evidence:
    """What is known of one feature, in two halves that share no document: what is shown, and what is held out."""

    shown: list[Passage]
    """Where it is active, strongest first."""
    shown_inactive: list[Passage]
    """Text in which it is nowhere active, drawn at random."""
    active: list[Passage]
    """Held out."""
    inactive: list[Passage]
    """Held out."""


@dataclass(frozen=True)
class Question:
    """One held-out text with the true answer, unmarked (detection) or with marks (fuzzing)."""

    passage: Passage
    marks: frozenset[int]
    """Which tokens are marked; none in a question of detection."""
    truth: bool

    @property
    def text(self) -> str:
        """What a judge reads."""
        return self.passage.marked(self.marks)


def divided(active: Sequence[Passage], inactive: Sequence[Passage], n_shown: int, n_held_out: int) -> Evidence:
    """Share the passages out: active ones in turn by rank, so that both halves reach from strong to weak.

    Passages of one document go to the same half, so that nothing held out was seen. Of what may be shown, half are the
    strongest, and half come from the strongest of the rest to the weakest.
    """
    half, held_out = _halves(sorted(active, key=lambda passage: -passage.peak))
    n_strongest = n_shown - n_shown // 2
    shown = [*half[:n_strongest], *spread(half[n_strongest:], n_shown // 2)]
    seen = {passage.document for passage in shown}
    fresh = [passage for passage in inactive if passage.document not in seen]
    n_contrast = min(max(1, n_shown // 2), len(fresh) // 3)
    contrast = fresh[:n_contrast]
    told = {passage.document for passage in contrast}
    rest = [passage for passage in fresh[n_contrast:] if passage.document not in told]
    return Evidence(shown, contrast, spread(held_out, n_held_out), rest[:n_held_out])


def spread(passages: Sequence[Passage], most: int) -> list[Passage]:
    """At most so many of them, evenly from the first to the last."""
    if len(passages) <= most:
        return list(passages)
    return [passages[round(at * (len(passages) - 1) / max(1, most - 1))] for at in range(most)]


def detection_questions(evidence: Evidence, draw: Random) -> list[Question]:
    """Is the feature active anywhere in this text? Active and inactive texts, mixed."""
    questions = [Question(passage, frozenset(), True) for passage in evidence.active]
    questions += [Question(passage, frozenset(), False) for passage in evidence.inactive]
    draw.shuffle(questions)
    return questions


def fuzzing_questions(evidence: Evidence, draw: Random) -> list[Question]:
    """Are these the tokens that it is active on? Every active text, half of them with other tokens marked, mixed.

    A false mark stands on as many tokens as are active, all of which are known to be inactive.
    """
    order = list(evidence.active)
    draw.shuffle(order)
    questions = []
    for index, passage in enumerate(order):
        wrong = _wrong_marks(passage, draw) if index % 2 else None
        questions.append(Question(passage, passage.active if wrong is None else wrong, wrong is None))
    draw.shuffle(questions)
    return questions


def _wrong_marks(passage: Passage, draw: Random) -> frozenset[int] | None:
    """As many inactive tokens as active ones are marked; None if there are not so many."""
    free = [at for at, value in enumerate(passage.values) if value == 0 and passage.tokens[at].strip()]
    n = len(passage.active)
    return frozenset(draw.sample(free, n)) if 0 < n <= len(free) else None


def _halves(ranked: Sequence[Passage]) -> tuple[list[Passage], list[Passage]]:
    sides: dict[int, int] = {}
    halves: tuple[list[Passage], list[Passage]] = ([], [])
    for passage in ranked:
        side = sides.setdefault(passage.document, 0 if len(halves[0]) <= len(halves[1]) else 1)
        halves[side].append(passage)
    return halves


def _one_line(text: str) -> str:
    return " ".join(text.split())
