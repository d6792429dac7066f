"""A pack's jobs computed again, and every number beside the one that the pack claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from store import jobs
from store.errors import Cancelled, Missing, WorkbenchError
from tasks.command_line import command_line
from tasks.execute import execute
from tasks.packs.expected import Claim, Tolerances, numbers
from tasks.packs.session import Step, session_steps

if TYPE_CHECKING:
    from tasks.context import Context
    from tasks.packs.inputs import PackedInputs
    from tasks.packs.opening import OpenedPack
    from tasks.params import Params

ON_STORED = frozenset({"baseline", "evaluate", "trace", "intervene", "validate", "prune", "heads", "qk", "reproduce"})
"""Jobs that are computed again on the dictionaries and graphs of the pack; the others made these, at length.

A `reproduce` takes the pack's baselines, graphs and validations, jobs of their own, and measures its hypotheses again;
one of several behaviours is made of one job each.
"""
Outcome = Literal["computed", "kept", "skipped", "failed"]


@dataclass(frozen=True)
class Comparison:
    """One job of a pack beside its claim."""

    job: int
    kind: str
    command: str
    outcome: Outcome
    """`kept`: its files were checked by hash; `skipped`: what it needs is not here; `failed`: it ended in an error."""
    reason: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    """number, expected, got, tolerance, holds; a number that only one side has is null on the other."""

    @property
    def moved(self) -> list[dict[str, Any]]:
        """Those outside the tolerance."""
        return [each for each in self.results if not each["holds"]]

    def document(self) -> dict[str, Any]:
        """The comparison with its sums."""
        differences = [abs(r["got"] - r["expected"]) for r in self.results if None not in (r["got"], r["expected"])]
        return {
            **vars(self),
            "numbers": len(self.results),
            "moved": self.moved,
            "largest_difference": max(differences, default=0.0),
        }


def compared(claim: Claim, document: Mapping[str, Any], tolerances: Tolerances) -> list[dict[str, Any]]:
    """Each number of a claim beside that of a document."""
    got = dict(numbers(document))
    return [
        {
            "number": name,
            "expected": (expected := claim.numbers.get(name)),
            "got": (now := got.get(name)),
            "tolerance": None if expected is None else tolerances.of(name).allowed(expected),
            "holds": expected is not None and now is not None and tolerances.of(name).holds(expected, now),
        }
        for name in [*claim.numbers, *sorted(got.keys() - claim.numbers.keys())]
    ]


def replayed(
    opened: OpenedPack, context: Context, claims: Sequence[Claim], tolerances: Tolerances, from_scratch: bool
) -> Iterator[Comparison]:
    """Run the jobs again in order: on what the pack holds or, `from_scratch`, on what the ones before made anew."""
    db = opened.project.db
    steps = session_steps([jobs.show(db, row["id"]) for row in opened.tables["job"]])
    claim_of = {claim.job: claim for claim in claims}
    documents: dict[int, Mapping[str, Any]] = {}
    lacking = _without_weights(opened)
    with context.stage("compute again", len(steps), "jobs") as stage:
        for step in steps:
            if from_scratch:
                yield _again(step, context, opened.inputs, documents, claim_of.get(step.job.id), tolerances)
            elif step.job.id in claim_of:
                yield _on_stored(step, context, opened.inputs, claim_of[step.job.id], tolerances, lacking)
            stage.advance()
    known = {step.job.id for step in steps}
    for claim in claims:
        if claim.job not in known:
            yield Comparison(claim.job, claim.kind, "", "skipped", "this workbench does not know its kind or options")


def _on_stored(
    step: Step,
    context: Context,
    inputs: PackedInputs,
    claim: Claim,
    tolerances: Tolerances,
    lacking: Mapping[str, list[int]],
) -> Comparison:
    comparison = _Opening(step, inputs)
    if step.job.kind not in ON_STORED:
        return comparison.ended("kept", "what it made is in the pack and its hashes are right")
    graph = getattr(step.params, "graph", None)
    name = getattr(step.params, "dictionary", None)
    unheld = next((d for d, graphs in lacking.items() if graph in graphs or (not graph and d == name)), None)
    if unheld is not None:
        return comparison.ended("skipped", f"the weights of {unheld} are not in the pack")
    return comparison.run(step.params, context, claim, tolerances, {})


def _again(
    step: Step,
    context: Context,
    inputs: PackedInputs,
    documents: dict[int, Mapping[str, Any]],
    claim: Claim | None,
    tolerances: Tolerances,
) -> Comparison:
    comparison = _Opening(step, inputs)
    if absent := sorted(set(step.needs.values()) - documents.keys()):
        return comparison.ended("skipped", f"it needs job {absent[0]}, which was not computed")
    return comparison.run(step.renamed(documents), context, claim, tolerances, documents)


@dataclass(frozen=True)
class _Opening:
    """A step about to be taken."""

    step: Step
    inputs: PackedInputs

    def ended(self, outcome: Outcome, reason: str, results: Sequence[dict[str, Any]] = ()) -> Comparison:
        job = self.step.job
        command = command_line(job.kind, self.step.params, Path("PROJECT"))
        return Comparison(job.id, job.kind, command, outcome, reason, list(results))

    def run(
        self,
        params: Params,
        context: Context,
        claim: Claim | None,
        tolerances: Tolerances,
        documents: dict[int, Mapping[str, Any]],
    ) -> Comparison:
        """Run it and compare; its document is put among `documents`."""
        params, reason = self.inputs.settled(params)
        if reason:
            return self.ended("skipped", reason)
        try:
            document = execute(self.step.job.kind, params, context)
        except Cancelled:
            raise
        except Missing as error:
            return self.ended("skipped", str(error))
        except WorkbenchError as error:
            return self.ended("failed", str(error))
        documents[self.step.job.id] = document
        return self.ended("computed", "", [] if claim is None else compared(claim, document, tolerances))


def _without_weights(opened: OpenedPack) -> dict[str, list[int]]:
    """Dictionary sets whose weights the pack leaves out, each with the graphs that were traced in it."""
    db = opened.project.db
    paths = opened.header.left_out
    sql = "SELECT DISTINCT name, path FROM dictionary JOIN file ON file.id = file_id"
    names = {name for name, path in db.execute(sql).fetchall() if path in paths}
    graphs = db.execute("SELECT dictionary, id FROM graph").fetchall()
    return {name: [graph for dictionary, graph in graphs if dictionary == name] for name in sorted(names)}
