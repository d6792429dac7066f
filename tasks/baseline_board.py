"""Every behaviour there is to run, beside what was measured of it: the board that the app and `baselines list` show.

What a behaviour's file holds and what the project has measured are put together by the prompts' content, so that a
prompt that was run is shown even if its file has changed since, and one that was not run is shown too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import baselines
from store.baselines import PromptRecord, Scores
from store.errors import BadInput
from tasks.baseline import AD_HOC, accuracy, lacks, pair_passes
from tasks.behaviours import Behaviour, Pair, load_behaviours

if TYPE_CHECKING:
    from store.project import Project

OWN_PROMPTS = "Prompts of your own"
"""The title of the behaviour under which they are kept."""
_NOT_RUN = Scores(None, None, None, None)


@dataclass(frozen=True)
class BoardPair:
    """A pair, run or not."""

    pair: Pair
    record: PromptRecord | None
    """What is stored of it; None if it was not run."""

    @property
    def key(self) -> str:
        """What tells it from every other pair of its behaviour, in any session."""
        return "\x1f".join((self.pair.clean, self.pair.corrupt or "", self.pair.decisive, self.pair.rival or ""))

    @property
    def clean(self) -> Scores:
        """After the clean prompt; all None if it was not run."""
        return self.record.scores.get("clean", _NOT_RUN) if self.record else _NOT_RUN

    @property
    def corrupt(self) -> Scores:
        """After the corrupt prompt; all None if there is none, or it was not run."""
        return self.record.scores.get("corrupt", _NOT_RUN) if self.record else _NOT_RUN

    @property
    def passed(self) -> bool | None:
        """Whether the model does what it asks; None if it asks nothing, or was not run."""
        return pair_passes(self.clean.rank_decisive, self.clean.passed, self.corrupt.passed)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        known = {"name": self.record.name, "job": self.record.job_id} if self.record else {"name": None, "job": None}
        scores = {variant: asdict(each) for variant, each in self.record.scores.items()} if self.record else {}
        written = asdict(self.pair) | {"decisive": self.pair.decisive or None}
        return known | written | {"passed": self.passed, "scores": scores}


@dataclass(frozen=True)
class BoardBehaviour:
    """A behaviour and all its pairs."""

    name: str
    title: str
    pairs: tuple[BoardPair, ...]
    paper_section: str = ""
    claimed_circuit: str = ""
    directory: str = ""
    """Where its file is; empty for the workbench's own and for prompts that have none."""
    chat: bool = False
    system: str = ""
    """The chat's system text."""

    def form(self, pair: Pair) -> dict[str, Any]:
        """How the pair's prompts are put into tokens: options of `trace`."""
        return {"chat": self.chat, "system": self.system, "prefill": pair.prefill}

    @property
    def run(self) -> tuple[BoardPair, ...]:
        """The pairs that were run."""
        return tuple(pair for pair in self.pairs if pair.record is not None)

    @property
    def n_passed(self) -> int:
        """How many pairs passed."""
        return sum(pair.passed is True for pair in self.pairs)

    @property
    def n_asked(self) -> int:
        """How many of the pairs that were run ask something."""
        return sum(pair.passed is not None for pair in self.pairs)

    @property
    def lacking(self) -> bool:
        """Whether the model lacks it, by the pairs that were run. Prompts of one's own are no behaviour."""
        return self.name != AD_HOC and lacks(accuracy(pair.passed for pair in self.pairs))

    @property
    def mean(self) -> dict[str, Scores]:
        """Means over the pairs that were run, by variant; None where no pair has the number."""
        return {
            variant: Scores(
                p_decisive=_mean(each.p_decisive for each in scores),
                rank_decisive=None,
                logit_difference=_mean(each.logit_difference for each in scores),
                passed=None,
            )
            for variant, scores in {
                "clean": [pair.clean for pair in self.pairs],
                "corrupt": [pair.corrupt for pair in self.pairs],
            }.items()
        }

    def document(self) -> dict[str, Any]:
        """As JSON."""
        counted = {"run": len(self.run), "asked": self.n_asked, "passed": self.n_passed, "lacking": self.lacking}
        known = {"name": self.name, "title": self.title, "directory": self.directory}
        return known | counted | {"pairs": [pair.document() for pair in self.pairs]}


def board(project: Project) -> list[BoardBehaviour]:
    """Prompts of one's own first, then every behaviour by name: the workbench's, and of directories that were used."""
    stored: dict[str, list[PromptRecord]] = {}
    for record in baselines.listing(project.db):
        stored.setdefault(record.behaviour, []).append(record)
    places = baselines.directories(project.db)
    known: dict[str, tuple[Behaviour | None, str]] = dict(_own_behaviours())
    for directory in sorted(set(places.values()) - {""}):
        known |= {behaviour.name: (behaviour, directory) for behaviour in _behaviours_in(directory)}
    for name, directory in places.items():
        if not directory and name in _own_behaviours():
            known[name] = _own_behaviours()[name]
    names = sorted({*known, *stored} - {AD_HOC})
    own = [_own_prompts(stored[AD_HOC])] if AD_HOC in stored else []
    files = {name: known.get(name, (None, "")) for name in names}
    return own + [_joined(name, *file, records=stored.get(name, [])) for name, file in files.items()]


def with_own_prompts(behaviours: Sequence[BoardBehaviour], pairs: Iterable[Pair]) -> list[BoardBehaviour]:
    """The board with prompts of one's own that are only being run, before those that were."""
    others = [behaviour for behaviour in behaviours if behaviour.name != AD_HOC]
    stored = [pair for behaviour in behaviours if behaviour.name == AD_HOC for pair in behaviour.pairs]
    known = {pair.key for pair in stored}
    waiting = [pair for pair in (BoardPair(each, None) for each in dict.fromkeys(pairs)) if pair.key not in known]
    own = (*waiting, *stored)
    return [BoardBehaviour(AD_HOC, OWN_PROMPTS, own), *others] if own else others


def find_pair(behaviours: Iterable[BoardBehaviour], prompt: str) -> tuple[BoardBehaviour, BoardPair] | None:
    """The first pair that has this text as its clean prompt, else as its corrupt one, those that were run first."""
    pairs = [(behaviour, pair) for behaviour in behaviours for pair in behaviour.pairs]
    for side in ("clean", "corrupt"):
        found = [each for each in pairs if getattr(each[1].pair, side) == prompt]
        if found:
            return min(found, key=lambda each: each[1].record is None)
    return None


@cache
def _own_behaviours() -> dict[str, tuple[Behaviour, str]]:
    return {name: (behaviour, "") for name, behaviour in load_behaviours().items()}


def _behaviours_in(directory: str) -> list[Behaviour]:
    """Those of a directory; none if it is not there any more, or cannot be read: what was run of them is stored."""
    try:
        return list(load_behaviours(Path(directory)).values())
    except BadInput:
        return []


def _own_prompts(records: list[PromptRecord]) -> BoardBehaviour:
    """The newest first."""
    return replace(_joined(AD_HOC, None, "", records[::-1]), title=OWN_PROMPTS)


def _joined(name: str, behaviour: Behaviour | None, directory: str, records: list[PromptRecord]) -> BoardBehaviour:
    """A behaviour's pairs in the order of its file, then what else was run under its name."""
    by_pair = {_pair_of(record): record for record in records}
    asked = list(behaviour.pairs) if behaviour else []
    pairs = [BoardPair(pair, by_pair.pop(pair, None)) for pair in asked]
    pairs += [BoardPair(pair, record) for pair, record in by_pair.items()]
    if behaviour is None:
        return BoardBehaviour(name, name, tuple(pairs), directory=directory)
    return BoardBehaviour(
        name, behaviour.title, tuple(pairs), behaviour.paper_section, behaviour.claimed_circuit, directory,
        behaviour.chat, behaviour.system,
    )  # fmt: skip


def stored_pair(record: PromptRecord) -> BoardPair:
    """The pair of a prompt that was run."""
    return BoardPair(_pair_of(record), record)


def _pair_of(record: PromptRecord) -> Pair:
    return Pair(record.clean, record.decisive or "", record.corrupt, record.rival, record.concept)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
