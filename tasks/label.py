"""Label: what features mean in a judge's words, and how well these words tell where a feature is active (METHOD §7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from store import labels
from store.errors import Missing, WorkbenchError
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.features import FeatureRecord
    from store.project import Project
    from tasks.context import Context
    from tasks.labelling.evidence import EvidenceReader
    from tasks.labelling.scoring import Judge

_MOST_DOWN = 3
"""Features in a row for which a judge could not be reached, after which the others are not tried."""
_MOST = 10_000


class Params(_Params):
    """The options of `workbench features label --auto`."""

    dictionary: str = option("sae", "The set whose features are labelled.")
    features: tuple[str, ...] = option((), "Only these features, as L12/345 (repeatable).")
    query: str = option("", "Only what this search finds, as of `features search`.")
    layers: str = option("", "Layers of the set, as 4-12,20; all if left out.")
    limit: int = option(100, "At most so many features.", unit="features", ge=1, le=_MOST)
    again: bool = option(False, "Label features that have a label already, too.")
    score_only: bool = option(False, "Write no labels: score those that are there.")
    judge: str = option("", "Base URL of an OpenAI-compatible endpoint; the project's own model if left out.")
    judge_model: str = option("", "The model that the endpoint is asked for.")
    judge_timeout: float = option(60.0, "How long an answer of the endpoint may take.", unit="seconds", gt=0)
    shown: int = option(8, "Contexts that a label is made from.", unit="contexts", ge=2, le=50)
    held_out: int = option(10, "Held-out contexts of each kind that a label is scored on.", unit="contexts", ge=2)
    sample: int = option(4096, "Tokens of random text that are run to find other contexts.", unit="tokens", ge=256)
    seed: int = option(0, "Decides which random contexts are taken, and their order.", ge=0)

    @field_validator("judge")
    @classmethod
    def _is_a_place(cls, judge: str) -> str:
        """Nothing that may be a secret comes into a job's params."""
        from tasks.labelling.endpoint import check_url

        return check_url(judge) if judge else ""


@dataclass
class Result:
    """What was labelled, and what was not and why. The labels themselves were written one by one."""

    params: Params
    judge: str
    n_chosen: int
    labelled: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: every label and its scores were written together, as soon as they were known."""
        return {
            "dictionary": self.params.dictionary,
            "judge": self.judge,
            "chosen": self.n_chosen,
            "labelled": len(self.labelled),
            "failed": len(self.failures),
            "median_detection": self._median("detection", floor=False),
            "median_detection_floor": self._median("detection", floor=True),
            "median_fuzzing": self._median("fuzzing", floor=False),
            "median_fuzzing_floor": self._median("fuzzing", floor=True),
            "chance": labels.CHANCE,
            "features": self.labelled,
            "failures": self.failures,
        }

    def _median(self, method: str, floor: bool) -> float | None:
        from statistics import median

        found = [
            score["balanced_accuracy"]
            for feature in self.labelled
            for score in feature["scores"]
            if score["method"] == method and (score["judge"] == labels.FLOOR) == floor
        ]
        return median(found) if found else None


def run(params: Params, context: Context) -> Result:
    """Feature after feature: evidence, a label, its scores, one transaction. What fails is listed, the others go on.

    A feature that has a label is left out, so the same command again continues where one was stopped.
    """
    from tasks.indexing.indexed_text import indexed_text
    from tasks.labelling.evidence import EvidenceReader

    _require_index(params.dictionary, context.project)
    records = _chosen(params, context.project)
    judge = _judge(params, context)
    result = Result(params, judge.name, len(records))
    if not records:
        return result
    text = indexed_text(context.project, params.dictionary, context.model)
    with context.stage("reading text at random", 1, "pass") as stage:
        held, drawn = context.dictionary_set(params.dictionary), _drawn(context.project, records)
        reader = EvidenceReader(text, held, records, params.sample, params.seed, drawn)
        stage.advance()
    with context.stage("labelling features", len(records), "features") as stage:
        for record, outcome in _outcomes(params, records, reader, judge):
            if isinstance(outcome, WorkbenchError):
                result.failures.append({"feature": record.name, "reason": str(outcome)})
                context.progress.note(f"{record.name}: {outcome}")
            else:
                result.labelled.append(_written(context.project, record, outcome, judge, params))
            stage.advance()
    if not result.labelled:
        first = result.failures[0]
        fault = f"none of {len(records)} features was labelled ({first['feature']}: {first['reason']})"
        raise WorkbenchError(fault, "put that right and run the same command again")
    return result


@dataclass(frozen=True)
class _Labelled:
    label: str
    scores: list[labels.LabelScore]


def _outcomes(
    params: Params, records: list[FeatureRecord], reader: EvidenceReader, judge: Judge
) -> Iterator[tuple[FeatureRecord, _Labelled | WorkbenchError]]:
    """What came of each feature; after several in a row without an answer, the rest is not tried."""
    from tasks.labelling.scoring import JudgeFailed, scores

    n_down = 0
    for record in records:
        if n_down >= _MOST_DOWN:
            yield record, WorkbenchError("not tried: the judge could not be reached", "run the same command again")
            continue
        try:
            evidence = reader.read(record, params.shown, params.held_out)
            label = record.label if params.score_only else judge.label(evidence)
            yield record, _Labelled(label, scores(judge, label, evidence, params.seed))
            n_down = 0
        except JudgeFailed as failure:
            n_down = n_down + 1 if failure.is_down else 0
            yield record, failure


def _written(project: Project, record: FeatureRecord, found: _Labelled, judge: Judge, params: Params) -> dict[str, Any]:
    """The label and its scores, in one transaction; what is printed of them."""
    with project.transaction():
        if not params.score_only:
            labels.set_label(project.db, record.id, found.label, judge.name)
        labels.set_scores(project.db, record.id, found.scores)
    scores = [score.document() for score in found.scores]
    return {"feature": record.name, "label": found.label, "before": record.label, "scores": scores}


def _require_index(dictionary: str, project: Project) -> None:
    """`Missing` if no feature of the set is described."""
    sql = "SELECT 1 FROM feature JOIN dictionary ON dictionary.id = dictionary_id WHERE name = ? LIMIT 1"
    if project.db.execute(sql, [dictionary]).fetchone() is None:
        fault = f"the set {dictionary!r} is not indexed"
        raise Missing(fault, f"`workbench index --dictionary {dictionary}` describes its features")


def _drawn(project: Project, records: list[FeatureRecord]) -> dict[str, list[tuple[int, int]]]:
    """The places that the index drew from all activations of each feature, strongest first."""
    from store.feature_details import find_detail

    found = {record.name: find_detail(project.db, record.id) for record in records}
    return {
        name: [(each.document, each.position) for each in detail.sampled if each.activation > 0]
        for name, detail in found.items()
        if detail is not None
    }


def _chosen(params: Params, project: Project) -> list[FeatureRecord]:
    """The features that are asked for and are not done yet; `Missing` if one that is named is not indexed."""
    from store.features import find, rows_of
    from tasks.graphs.active_features import search

    if params.features:
        found = [find(project.db, name, params.dictionary) for name in params.features[: params.limit]]
        return [record for record in found if _is_wanted(params, record)]
    quoted = params.dictionary.replace("\\", "\\\\").replace('"', '\\"')
    layers = f" layer:{params.layers}" if params.layers.strip() else ""
    wanted = " label:*" if params.score_only else "" if params.again else " label:?"
    text = f'{params.query} set:"{quoted}"{layers} max:>0{wanted}'
    ids = search(project, text, limit=params.limit).found.ids.tolist()
    rows = rows_of(project.db, ids)
    return [find(project.db, rows[row_id].name, rows[row_id].dictionary) for row_id in ids]


def _is_wanted(params: Params, record: FeatureRecord) -> bool:
    return bool(record.label) if params.score_only else params.again or not record.label


def _judge(params: Params, context: Context) -> Judge:
    if params.judge:
        from tasks.labelling.endpoint import EndpointJudge

        return EndpointJudge(params.judge, params.judge_model, params.judge_timeout, wait=_waiter(context))
    from tasks.labelling.model_judge import ModelJudge

    return ModelJudge(context.model)


def _waiter(context: Context) -> Callable[[float], None]:
    """Wait, unless the person asks to stop."""

    def wait(seconds: float) -> None:
        context.cancelled.wait(seconds)
        context.check()

    return wait
