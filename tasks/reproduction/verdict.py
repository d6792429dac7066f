"""What numbers amount to: the outcome of a hypothesis, and the verdict on a behaviour.

The bounds are conventions, stated here and in the report. A control is what the same number is for features that were
drawn at random, or for another concept's; an outcome above "not supported" has to beat every one of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

FLIPPED = 0.5
"""Share of pairs in which the counterfactual answer has to win for a swap to be supported."""
MOVED = 0.5
"""Part of the way from the clean to the corrupt logit difference, in the mean, for a swap to be supported."""
ABOVE_CONTROLS = 0.1
"""By how much of the way the best control has to be beaten, and twofold."""
HALVED = math.log(2.0)
"""Nats that the decisive token loses, in the mean, where what recurs is removed: its probability is halved."""
LOST_PARTLY = HALVED / 2
P_SUPPORTED, P_PARTLY = 0.05, 0.2
"""Share of shuffles that do as well, at the most, for an overlap to be supported, or partly."""


class Outcome(StrEnum):
    """What became of one hypothesis."""

    SUPPORTED = "supported"
    PARTLY = "partly"
    NOT_SUPPORTED = "not supported"
    UNTESTED = "not tested"


class Verdict(StrEnum):
    """What became of one behaviour."""

    SUPPORTED = "supported"
    PARTLY = "partly"
    NOT_SUPPORTED = "not supported"
    CANNOT = "model can't"
    UNTESTED = "not tested"


@dataclass(frozen=True)
class Tested:
    """One hypothesis, tested."""

    outcome: Outcome
    because: str
    """The decisive numbers in a sentence, or why nothing could be tested."""
    value: float | None
    """The number that decides; None if untested."""
    controls: tuple[float, ...]
    """The same number of every control."""
    unit: str
    evidence: dict[str, Any]
    """Everything that was measured, as JSON."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"outcome": str(self.outcome), "controls": list(self.controls)}


def untested(because: str, unit: str = "") -> Tested:
    """A hypothesis that could not be tested."""
    return Tested(Outcome.UNTESTED, because, None, (), unit, {})


def swap_outcome(flipped: float, moved: float, controls: Sequence[float]) -> Outcome:
    """Of a swap: the share of pairs flipped, the mean part of the way moved, and that of every control."""
    best = max([0.0, *controls])
    if not moved >= max(best + ABOVE_CONTROLS, 2 * best):
        return Outcome.NOT_SUPPORTED
    return Outcome.SUPPORTED if flipped >= FLIPPED and moved >= MOVED else Outcome.PARTLY


def common_outcome(lost: float, controls: Sequence[float]) -> Outcome:
    """Of a removal: nats of log probability lost on held-out prompts, and what every random removal loses."""
    if not lost >= max(2 * max([0.0, *controls]), LOST_PARTLY):
        return Outcome.NOT_SUPPORTED
    return Outcome.SUPPORTED if lost >= HALVED else Outcome.PARTLY


def shared_outcome(difference: float, p: float) -> Outcome:
    """Of an overlap: how much more pairs of one concept share than others, and the part of shuffles that reach it."""
    if difference <= 0 or p > P_PARTLY:
        return Outcome.NOT_SUPPORTED
    return Outcome.SUPPORTED if p <= P_SUPPORTED else Outcome.PARTLY


def overall(outcomes: Collection[Outcome]) -> Verdict:
    """On a behaviour that the model has: what its tested hypotheses agree on, else partly."""
    tested = {outcome for outcome in outcomes if outcome is not Outcome.UNTESTED}
    if not tested:
        return Verdict.UNTESTED
    return Verdict(tested.pop()) if len(tested) == 1 else Verdict.PARTLY
