"""Behaviours in the tokens of one model: a pair that fits one tokenizer need not fit another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.behaviours.behaviour import Behaviour, Pair

if TYPE_CHECKING:
    from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class CheckedPair:
    """A pair in the tokens of one model."""

    clean: tuple[int, ...]
    corrupt: tuple[int, ...] | None
    decisive: int | None
    rival: int | None

    @property
    def equal_length(self) -> bool:
        """Whether the two prompts have as many tokens, which a swap needs."""
        return self.corrupt is not None and len(self.clean) == len(self.corrupt)


@dataclass(frozen=True)
class CheckedBehaviour:
    """The pairs of a behaviour that a tokenizer can hold, by number, and why the others cannot be held."""

    pairs: dict[int, CheckedPair]
    refused: dict[int, str]


def check_pair(model: LanguageModel, pair: Pair, **form: Any) -> CheckedPair:
    """The pair's tokens; `BadInput` if the decisive or rival text is not one token (its tokens are named).

    `form` is how a prompt is put into tokens: `Behaviour.form`.
    """
    return CheckedPair(
        clean=tuple(model.tokenize(pair.clean, **form)),
        corrupt=None if pair.corrupt is None else tuple(model.tokenize(pair.corrupt, **form)),
        decisive=model.single_token(pair.decisive) if pair.decisive else None,
        rival=None if pair.rival is None else model.single_token(pair.rival),
    )


def check_behaviour(model: LanguageModel, behaviour: Behaviour, *, equal_lengths: bool = False) -> CheckedBehaviour:
    """Every pair in the model's tokens. With `equal_lengths`, one whose prompts differ in length is refused too."""
    pairs: dict[int, CheckedPair] = {}
    refused: dict[int, str] = {}
    for number, pair in enumerate(behaviour.pairs):
        try:
            checked = check_pair(model, pair, **behaviour.form(pair))
        except BadInput as error:
            refused[number] = error.fault
            continue
        if equal_lengths and checked.corrupt is not None and not checked.equal_length:
            refused[number] = f"the prompts are {len(checked.clean)} and {len(checked.corrupt)} tokens long"
        else:
            pairs[number] = checked
    return CheckedBehaviour(pairs, refused)


def fitting(
    model: LanguageModel, behaviour: Behaviour, directory: str, note: Callable[[str], None]
) -> CheckedBehaviour:
    """The behaviour in the model's tokens, every pair that does not fit them left out and told to `note` by its number.

    In a person's own `directory` such a pair is `BadInput`; so is a behaviour of which no pair fits.
    """
    checked = check_behaviour(model, behaviour)
    if directory:
        refuse_first(behaviour, checked, directory)
    for number, reason in checked.refused.items():
        note(f"{behaviour.name}, pair {number} left out: {reason}")
    return checked


def refuse_first(behaviour: Behaviour, checked: CheckedBehaviour, where: str) -> None:
    """`BadInput` with the file, the pair and the reason, if a pair does not fit the tokenizer."""
    for number, reason in checked.refused.items():
        mend = "a pair has two prompts of as many tokens, and two tokens to choose from"
        raise BadInput(f"{where}/{behaviour.name}.toml, pair {number}: {reason}", mend)
