"""Baseline: does the model do the behaviour at all? p, rank and logit difference of the decisive token.

A pair passes if the decisive token is the most probable one after the clean prompt, or if the logit difference is at
least a nat for the right token in both prompts. A behaviour that fewer than half of its pairs pass is marked as one
that the model lacks: a circuit for it would explain nothing. Of a prompt without a decisive token nothing is asked.
Of every prompt, how surprising each of its tokens was is kept too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from store.errors import BadInput
from tasks.behaviours import (
    OWN_DIRECTORY,
    Behaviour,
    CheckedBehaviour,
    CheckedPair,
    Pair,
    check_pair,
    choose_behaviours,
    fitting,
)
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from torch import Tensor

    from store.project import Project
    from tasks.context import Context
    from tasks.model.language_model import LanguageModel

LEAST_LOGIT_DIFFERENCE = 1.0
"""Nats by which the right token must beat the other one, where it is not the most probable of all."""
LEAST_ACCURACY = 0.5
"""Share of its pairs that must pass for the model to have a behaviour."""
AD_HOC = "prompt"
"""The name under which a prompt of the person's own is kept."""
PROMPTS_AT_ONCE = 16
_Key = tuple[tuple[str, int], str]


class Params(_Params):
    """The options of `workbench baseline`."""

    behaviours: tuple[str, ...] = option((), "Behaviours to run; all of them if left out.", argument=True)
    directory: str = option("", "A directory of your own behaviours (*.toml) in place of the workbench's.")
    prompt: str = option("", "One prompt of your own in place of behaviours.")
    corrupt: str = option("", "Its corrupt twin; beside --decisive it needs --rival.")
    decisive: str = option("", "The token that --prompt should give, with its leading space; nothing is asked without.")
    rival: str = option("", "The token to compare --decisive with: what the corrupt prompt should give.")
    max_new_tokens: int = option(8, "Length of the continuations.", unit="tokens", ge=0, le=1024)
    temperature: float = option(0.0, "0 is greedy.", ge=0.0)
    top: int = option(10, "Most probable tokens listed.", unit="tokens", ge=1, le=1000)
    seed: int = option(0, "For sampling.", ge=0)


@dataclass(frozen=True)
class Measurement:
    """What the model does after one prompt of a pair."""

    variant: Literal["clean", "corrupt"]
    prompt: str
    tokens: list[int]
    p_decisive: float | None
    """None where no decisive token was named."""
    rank_decisive: int | None
    """0 is the most probable token."""
    logit_difference: float | None
    """decisive - rival, nats; None without a rival."""
    top: list[tuple[str, float]]
    """Most probable tokens with their probabilities."""
    continuation: str
    surprise: list[tuple[str, float | None]]
    """Each token of the prompt with -log2 p given the tokens before it, bits; None of the first."""
    passed: bool | None
    """Clean: decisive is top-1 or ahead by a nat. Corrupt: the rival is ahead by a nat. None: nothing was asked."""

    def document(self) -> dict[str, Any]:
        """As JSON. Without the surprise, which is stored: packs are verified by the numbers of their documents."""
        return {key: value for key, value in asdict(self).items() if key != "surprise"}


@dataclass(frozen=True)
class MeasuredPair:
    """A pair with its measurements."""

    pair: Pair
    checked: CheckedPair
    clean: Measurement
    corrupt: Measurement | None

    @property
    def passed(self) -> bool | None:
        """Whether the model does what the pair asks; None if it asks nothing."""
        corrupt_passed = None if self.corrupt is None else self.corrupt.passed
        return pair_passes(self.clean.rank_decisive, self.clean.passed, corrupt_passed)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "decisive": self.pair.decisive or None,
            "rival": self.pair.rival,
            "concept": self.pair.concept,
            "passed": self.passed,
            "equal_length": self.checked.equal_length,
            "clean": self.clean.document(),
            "corrupt": None if self.corrupt is None else self.corrupt.document(),
        }


@dataclass(frozen=True)
class Result:
    """Every behaviour's pairs, measured."""

    params: Params
    behaviours: list[tuple[Behaviour, list[MeasuredPair]]]
    checked: dict[str, CheckedBehaviour]
    """By name: which pairs the tokenizer refused."""

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `prompt` and `baseline`."""
        for behaviour, pairs in self.behaviours:
            for number, measured in enumerate(pairs):
                prompt_id = _record_prompt(project, behaviour.name, number, measured.pair)
                for measurement in filter(None, (measured.clean, measured.corrupt)):
                    _record_measurement(project, job_id, prompt_id, measurement, self.params.seed)
        return {
            "behaviours": [
                _behaviour_document(behaviour, pairs, self.checked[behaviour.name].refused)
                for behaviour, pairs in self.behaviours
            ],
            "seed": self.params.seed,
            "temperature": self.params.temperature,
        }


def run(params: Params, context: Context) -> Result:
    """Check every pair against the tokenizer, then run the prompts, those of equal length together."""
    chosen = asked_for(params)
    checked = {behaviour.name: _checked(behaviour, params, context) for behaviour in chosen}
    measured: dict[_Key, Measurement] = {}
    jobs = [
        job for b in chosen for i, fits in checked[b.name].pairs.items() for job in _jobs((b.name, i), b.pairs[i], fits)
    ]
    with context.stage("prompts", len(jobs), "prompts") as stage:
        for batch in _equal_lengths(jobs):
            for job, measurement in zip(batch, _measure(batch, params, context), strict=True):
                measured[job.pair_key, job.variant] = measurement
            stage.advance(len(batch))

    def result_of(behaviour: Behaviour, number: int, fits: CheckedPair) -> MeasuredPair:
        key = behaviour.name, number
        return MeasuredPair(behaviour.pairs[number], fits, measured[key, "clean"], measured.get((key, "corrupt")))

    pairs = [(b, [result_of(b, *fits) for fits in checked[b.name].pairs.items()]) for b in chosen]
    return Result(params, pairs, checked)


def _checked(behaviour: Behaviour, params: Params, context: Context) -> CheckedBehaviour:
    """The behaviour in the model's tokens. A pair that does not fit is left out and told of the workbench's own files.

    In a person's own file or prompt it is `BadInput`.
    """
    if behaviour.name == AD_HOC:
        check_pair(context.model, behaviour.pairs[0])
    return fitting(context.model, behaviour, params.directory, context.progress.note)


def pair_passes(clean_rank: int | None, clean_passed: bool | None, corrupt_passed: bool | None) -> bool | None:
    """Top-1 after the clean prompt (rank 0), or ahead by a nat in the right direction after all prompts there are.

    None if nothing was asked: no decisive token was named.
    """
    if clean_rank is None:
        return None
    return clean_rank == 0 or (bool(clean_passed) and corrupt_passed is not False)


def accuracy(passed: Iterable[bool | None]) -> float | None:
    """The share of pairs that passed, of those that ask something; None if none does."""
    asked = [each for each in passed if each is not None]
    return sum(asked) / len(asked) if asked else None


def lacks(accuracy: float | None) -> bool:
    """Whether the model lacks a behaviour with that accuracy."""
    return accuracy is not None and accuracy < LEAST_ACCURACY


@dataclass(frozen=True)
class _Job:
    """One prompt to run."""

    pair_key: tuple[str, int]
    """Behaviour and number of the pair."""
    variant: Literal["clean", "corrupt"]
    text: str
    tokens: list[int]
    pair: CheckedPair


def asked_for(params: Params) -> list[Behaviour]:
    """The behaviours that the options name, or the one prompt that they give; `BadInput` if they do both."""
    own = params.prompt or params.corrupt or params.decisive or params.rival
    return _ad_hoc(params) if own else _from_files(params)


def _ad_hoc(params: Params) -> list[Behaviour]:
    if not params.prompt:
        raise BadInput("--decisive, --corrupt and --rival go with --prompt", "give it too, or name behaviours")
    if params.rival and not params.decisive:
        raise BadInput("--rival is compared with --decisive", "give both, or neither")
    if params.behaviours:
        raise BadInput("behaviours and --prompt exclude each other", "give one of them")
    if params.corrupt and params.decisive and not params.rival:
        raise BadInput("--corrupt needs --rival", "name the token that the corrupt prompt should give")
    pair = Pair(params.prompt, params.decisive, params.corrupt or None, params.rival or None)
    return [Behaviour(AD_HOC, "A prompt of your own", "", "", (pair,))]


def _from_files(params: Params) -> list[Behaviour]:
    return choose_behaviours(list(params.behaviours), Path(params.directory) if params.directory else OWN_DIRECTORY)


def _jobs(key: tuple[str, int], pair: Pair, checked: CheckedPair) -> list[_Job]:
    jobs = [_Job(key, "clean", pair.clean, list(checked.clean), checked)]
    if pair.corrupt is not None and checked.corrupt is not None:
        jobs.append(_Job(key, "corrupt", pair.corrupt, list(checked.corrupt), checked))
    return jobs


def _equal_lengths(jobs: list[_Job]) -> list[list[_Job]]:
    """Batches of prompts with as many tokens each: without padding, neighbours do not change a prompt's numbers."""
    by_length: dict[int, list[_Job]] = defaultdict(list)
    for job in jobs:
        by_length[len(job.tokens)].append(job)
    return [
        same[start : start + PROMPTS_AT_ONCE]
        for _, same in sorted(by_length.items())
        for start in range(0, len(same), PROMPTS_AT_ONCE)
    ]


def _measure(batch: list[_Job], params: Params, context: Context) -> list[Measurement]:
    import torch

    from tasks.dictionaries.splice import spliced_logits
    from tasks.model.decoding import continuations
    from tasks.model.surprise import surprise

    model = context.model
    prompts = [job.tokens for job in batch]
    with torch.no_grad():
        logits = spliced_logits(model, torch.tensor(prompts, device=model.device), [])
    texts = continuations(model, prompts, params.max_new_tokens, params.temperature, params.seed)
    surprises = [surprise(model, row, job.tokens) for job, row in zip(batch, logits, strict=True)]
    return [
        _measurement(model, job, row[-1], text, bits, params.top)
        for job, row, text, bits in zip(batch, logits, texts, surprises, strict=True)
    ]


def _measurement(
    model: LanguageModel, job: _Job, logits: Tensor, text: str, surprise: list[tuple[str, float | None]], n_top: int
) -> Measurement:
    from tasks.interventions.outcome import next_token

    decisive, rival = job.pair.decisive, job.pair.rival
    asked = decisive if decisive is not None else int(logits.argmax())
    seen = next_token(model, logits, asked, asked if rival is None else rival, min(n_top, len(logits)))
    difference = None if rival is None else seen.logit_difference
    return Measurement(
        variant=job.variant,
        prompt=job.text,
        tokens=job.tokens,
        p_decisive=None if decisive is None else seen.probability,
        rank_decisive=None if decisive is None else seen.rank,
        logit_difference=difference,
        top=seen.top,
        continuation=text,
        surprise=surprise,
        passed=None if decisive is None else _passes(job.variant, seen.rank, difference),
    )


def _passes(variant: str, rank: int, logit_difference: float | None) -> bool:
    if variant == "clean":
        return rank == 0 or (logit_difference is not None and logit_difference >= LEAST_LOGIT_DIFFERENCE)
    return logit_difference is not None and logit_difference <= -LEAST_LOGIT_DIFFERENCE


def _behaviour_document(behaviour: Behaviour, pairs: list[MeasuredPair], refused: dict[int, str]) -> dict[str, Any]:
    share = accuracy(pair.passed for pair in pairs)
    return {
        "name": behaviour.name,
        "title": behaviour.title,
        "paper_section": behaviour.paper_section,
        "claimed_circuit": behaviour.claimed_circuit,
        "accuracy": share,
        "lacking": lacks(share),
        "pairs": [pair.document() for pair in pairs],
        "refused": [{"pair": number, "reason": reason} for number, reason in refused.items()],
    }


def _record_prompt(project: Project, behaviour: str, number: int, pair: Pair) -> int:
    """The id of the pair's row. The same name with other content is another prompt: it takes the next free number."""
    row = [behaviour, pair.clean, pair.corrupt, pair.decisive or None, pair.rival, pair.concept]
    known = project.db.execute(
        "SELECT id FROM prompt WHERE behaviour = ? AND clean = ? AND corrupt IS ? AND decisive IS ? AND rival IS ?"
        " AND concept IS ?",
        row,
    ).fetchone()
    if known:
        return int(known[0])
    taken = {
        name for (name,) in project.db.execute("SELECT name FROM prompt WHERE behaviour = ?", [behaviour]).fetchall()
    }
    while f"{behaviour}/{number}" in taken:
        number += 1
    cursor = project.db.execute(
        "INSERT INTO prompt (behaviour, clean, corrupt, decisive, rival, concept, name) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [*row, f"{behaviour}/{number}"],
    )
    return int(cursor.lastrowid or 0)


def _record_measurement(project: Project, job_id: int, prompt_id: int, measured: Measurement, seed: int) -> None:
    cursor = project.db.execute(
        "INSERT INTO baseline (job_id, prompt_id, variant, tokens, p_decisive, rank_decisive, logit_difference, top,"
        " continuation, passed, seed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            job_id,
            prompt_id,
            measured.variant,
            json.dumps(measured.tokens),
            measured.p_decisive,
            measured.rank_decisive,
            measured.logit_difference,
            json.dumps(measured.top),
            measured.continuation,
            measured.passed,
            seed,
        ],
    )
    row = [cursor.lastrowid, json.dumps(measured.surprise)]
    project.db.execute("INSERT INTO surprise (baseline_id, tokens) VALUES (?, ?)", row)
