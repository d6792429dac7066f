"""What a behaviour is: prompt pairs that ask one thing of a model, and the hypotheses about how it is done inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How a hypothesis is tested; `tasks.reproduction` has a function for each."""

    SWAP = "swap"
    """The graph's features in the window, at the corrupt prompt's values, give the corrupt prompt's answer."""
    CONCEPT = "concept"
    """So do the features, few of all, that the intermediate concept's own name evokes in another text."""
    COMMON = "common"
    """Features that recur over the pairs do the work: removed on other pairs, the answer goes."""
    SHARED = "shared"
    """Pairs with one concept in different groups (languages) share more features than pairs with different ones."""


class Where(StrEnum):
    """The positions of a hypothesis' window. Position 0, an attention sink, is never among them."""

    SUBJECT = "subject"
    """Where the tokens of clean and corrupt prompt differ."""
    BETWEEN = "between"
    """From the first differing token to the one before the last: where an intermediate step can be done."""
    LAST = "last"
    """The last token alone, from which the answer is predicted."""
    ANYWHERE = "anywhere"


@dataclass(frozen=True)
class Hypothesis:
    """One claim about the circuit, and the window in which it is tested."""

    kind: Kind
    claim: str
    """The claim in a sentence."""
    where: Where = Where.ANYWHERE
    depth: tuple[float, float] = (0.0, 1.0)
    """The window's layers as parts of the model's depth: from layer floor(a·L) to below ceil(b·L)."""
    probe: str = "This is about {}"
    """A text that ends in the concept, for `concept`."""


@dataclass(frozen=True)
class Pair:
    """A clean prompt and its corrupt twin, which differ in what decides the next token.

    Two pairs of the same prompts, tokens and concept are the same pair, however they are put to the model.
    """

    clean: str
    decisive: str
    """The token that the clean prompt should give, with its leading space; empty if nothing is asked."""
    corrupt: str | None = None
    rival: str | None = None
    """The token that the corrupt prompt should give."""
    concept: str | None = None
    """The intermediate concept that a circuit should contain."""
    rival_concept: str | None = field(default=None, compare=False)
    """The same of the corrupt prompt."""
    prefill: str = field(default="", compare=False)
    """How the answer to both prompts begins, in a chat."""
    group: str = field(default="", compare=False)
    """The language, or whatever else sets pairs of one concept apart."""


@dataclass(frozen=True)
class Behaviour:
    """A prompt set under one name."""

    name: str
    """The name of its file, without the suffix."""
    title: str
    paper_section: str
    """The section of the paper (Lindsey et al. 2025) whose case study it follows, or empty."""
    claimed_circuit: str
    """What the paper, or the literature it cites, says the model does inside."""
    pairs: tuple[Pair, ...]
    hypotheses: tuple[Hypothesis, ...] = ()
    chat: bool = False
    """Whether the prompts are user turns of the model's chat template."""
    system: str = ""
    """The chat's system text."""
    measured: tuple[tuple[str, float], ...] = ()
    """(model, the part of the pairs that it was measured to pass)."""

    def form(self, pair: Pair) -> dict[str, Any]:
        """How the pair's prompts are put into tokens: options of `LanguageModel.tokenize` and of `trace`."""
        return {"chat": self.chat, "system": self.system, "prefill": pair.prefill}
