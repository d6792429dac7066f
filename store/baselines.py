"""What baselines measured: every prompt that was run, with its latest numbers; more of one prompt when it is asked for.

A prompt may have been run often; what counts is the latest row of each variant, clean and corrupt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import Missing
from store.jobs import ORIGIN, said

if TYPE_CHECKING:
    from sqlite_utils import Database

_LATEST = "SELECT max(id) FROM baseline GROUP BY prompt_id, variant"


@dataclass(frozen=True)
class Scores:
    """The decisive token after one prompt; None where no decisive token was named."""

    p_decisive: float | None
    rank_decisive: int | None
    """0 is the most probable token."""
    logit_difference: float | None
    """decisive - rival, nats; None without a rival."""
    passed: bool | None
    says: str | None = None
    """The most probable token."""


@dataclass(frozen=True)
class PromptRecord:
    """One row of table `prompt`, with its latest scores by variant."""

    id: int
    behaviour: str
    name: str
    """`behaviour/number`."""
    clean: str
    corrupt: str | None
    decisive: str | None
    rival: str | None
    concept: str | None
    job_id: int
    """The job that ran it last."""
    scores: Mapping[str, Scores]
    """By variant: `clean`, and `corrupt` where there is one."""


@dataclass(frozen=True)
class Reading:
    """All that the latest run of one variant says."""

    tokens: list[int]
    top: list[tuple[str, float]]
    """Most probable next tokens with their probabilities."""
    continuation: str
    surprise: list[tuple[str, float | None]] | None
    """Each token of the prompt with -log2 p given its past, bits, None of the first; None of runs that kept none."""
    seed: int


def listing(db: Database) -> list[PromptRecord]:
    """Every prompt that was run, by behaviour in the order of its numbers."""
    return _records(db, "")


def find(db: Database, name: str) -> PromptRecord:
    """The prompt of that name; `Missing` if there is none."""
    for record in _records(db, "AND prompt.name = ?", name):
        return record
    raise Missing(
        f"no prompt {name!r} has been run in this project", "`workbench baselines list` shows those that were"
    )


def readings(db: Database, prompt_id: int) -> dict[str, Reading]:
    """What the latest run of a prompt says, by variant."""
    sql = f"""SELECT variant, baseline.tokens, top, continuation, surprise.tokens, seed
        FROM baseline LEFT JOIN surprise ON surprise.baseline_id = baseline.id
        WHERE prompt_id = ? AND baseline.id IN ({_LATEST}) ORDER BY variant"""
    return {variant: _reading(*row) for variant, *row in db.execute(sql, [prompt_id]).fetchall()}


def directories(db: Database) -> dict[str, str]:
    """The directory that each behaviour was last read from, by name; empty for the workbench's own.

    A relative one starts where its job was asked for, if that is known.
    """
    sql = """SELECT prompt.behaviour, json_extract(job.params, '$.directory'), job.id, max(baseline.id) FROM baseline
        JOIN prompt ON prompt.id = baseline.prompt_id JOIN job ON job.id = baseline.job_id GROUP BY prompt.behaviour"""
    return {
        behaviour: str(Path(said(db, job_id, ORIGIN), directory)) if directory else ""
        for behaviour, directory, job_id, _ in db.execute(sql).fetchall()
    }


def _records(db: Database, where: str, *values: object) -> list[PromptRecord]:
    sql = f"""SELECT prompt.id, behaviour, name, clean, corrupt, decisive, rival, concept, job_id,
            variant, p_decisive, rank_decisive, logit_difference, passed, json_extract(top, '$[0][0]')
        FROM baseline JOIN prompt ON prompt.id = prompt_id
        WHERE baseline.id IN ({_LATEST}) {where} ORDER BY behaviour, prompt.id, variant"""
    records: dict[int, PromptRecord] = {}
    for *columns, job_id, variant, p, rank, difference, passed, says in db.execute(sql, list(values)).fetchall():
        record = records.setdefault(columns[0], PromptRecord(*[*columns, job_id, {}]))
        records[record.id] = _with_scores(record, job_id, variant, _scores(p, rank, difference, passed, says))
    return list(records.values())


def _with_scores(record: PromptRecord, job_id: int, variant: str, scores: Scores) -> PromptRecord:
    return replace(record, job_id=max(job_id, record.job_id), scores={**record.scores, variant: scores})


def _scores(p: float | None, rank: int | None, difference: float | None, passed: int | None, says: str) -> Scores:
    return Scores(p, rank, difference, None if passed is None else bool(passed), says)


def _reading(tokens: str, top: str, continuation: str, surprise: str | None, seed: int) -> Reading:
    pairs = [(str(token), float(p)) for token, p in json.loads(top)]
    bits = None if surprise is None else [(str(token), value) for token, value in json.loads(surprise)]
    return Reading(json.loads(tokens), pairs, continuation, bits, seed)
