"""Reproduce: the paper's case studies on this model, each from its baseline to a verdict with the evidence.

Every step is a job that is reused if it was done before, and so is every behaviour: stopped and run again, it continues
where it stopped. A behaviour that the model lacks is reported as such and never traced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.behaviours import OWN_DIRECTORY, Behaviour, check_behaviour, choose_behaviours, refuse_first
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.project import Project
    from tasks.context import Context

MAX_NEURONS = 256
MAX_FEATURES = 2000
"""Budgets of a graph, where none is given: smaller than a single trace's, because a set has a hundred graphs."""


class Params(_Params):
    """The options of `workbench reproduce`."""

    behaviours: tuple[str, ...] = option((), "Behaviours to test; all of them if left out.", argument=True)
    directory: str = option("", "A directory of your own behaviours (*.toml) in place of the workbench's.")
    dictionary: str = option(
        "neurons", "What the graphs are of: neurons, a set by name, or transcoder:…, as for trace."
    )
    layers: str | None = option(None, "Only the dictionaries of these layers, as 4-12,20.")
    pairs: int = option(4, "Pairs of a behaviour (of each language) that are traced.", unit="pairs", ge=2)
    max_nodes: int | None = option(None, "Features attributed in a graph; default 2000, of neurons 256.", ge=1)
    concept_features: int = option(64, "Features that a concept's name is taken to evoke.", unit="features", ge=1)
    draws: int = option(5, "Random controls of every swap and removal.", unit="draws", ge=1)
    validated: int = option(1, "Graphs of a behaviour that are validated feature by feature.", unit="graphs", ge=0)
    max_tests: int = option(24, "Features ablated in each validated graph.", unit="features", ge=1)
    supernodes: int = option(4, "Supernodes removed in each validated graph, those with most nodes.", ge=0)
    batch: int = option(32, "Edited copies of a prompt run at once.", unit="prompts", ge=1)
    seed: int = option(0, "Draws controls, shuffles and held-out pairs.", ge=0)

    @property
    def budget(self) -> int:
        """Features attributed in a graph."""
        return self.max_nodes or (MAX_NEURONS if self.dictionary == "neurons" else MAX_FEATURES)

    @property
    def place(self) -> Path:
        """Where the behaviours are."""
        return Path(self.directory) if self.directory else OWN_DIRECTORY


@dataclass(frozen=True)
class Result:
    """The behaviours' documents; their graphs and measurements are jobs of their own."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: the jobs of the steps wrote theirs."""
        return self.document


def run(params: Params, context: Context) -> Result:
    """Check the files against the tokenizer, then take one behaviour after the other."""
    chosen = choose_behaviours(list(params.behaviours), params.place)
    if params.directory:
        for behaviour in chosen:
            checked = check_behaviour(context.model, behaviour, equal_lengths=True)
            refuse_first(behaviour, checked, params.directory)
    if len(chosen) == 1:
        return Result(_document(params, context, [_of_one(chosen[0], params, context)]))
    found = []
    with context.stage("reproduce", len(chosen), "behaviours") as stage:
        for number, behaviour in enumerate(chosen, start=1):
            context.progress.note(f"{number} of {len(chosen)}: {behaviour.name} — {behaviour.title}")
            found.append(_of_set(behaviour, params, context))
            context.progress.note(f"{behaviour.name}: {found[-1]['verdict']}")
            stage.advance()
    return Result(_document(params, context, found))


def _of_one(behaviour: Behaviour, params: Params, context: Context) -> dict[str, Any]:
    from tasks.reproduction.case import file_hash, reproduce_behaviour

    return reproduce_behaviour(behaviour, params, context) | {"file_hash": file_hash(behaviour, params.place)}


def _of_set(behaviour: Behaviour, params: Params, context: Context) -> dict[str, Any]:
    """One behaviour as a job of its own, taken from an earlier one if that was of the same file."""
    from tasks.execute import earlier_document, execute
    from tasks.reproduction.case import file_hash

    alone = params.model_copy(update={"behaviours": (behaviour.name,)})
    earlier = earlier_document("reproduce", alone, context.project)
    digest = file_hash(behaviour, params.place)
    if earlier is None or earlier["behaviours"][0]["file_hash"] != digest:
        earlier = execute("reproduce", alone, context)
    document: dict[str, Any] = earlier["behaviours"][0]
    return document | {"seconds": earlier["seconds"], "job": earlier["job"]}


def _document(params: Params, context: Context, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    from tasks.reproduction import verdict

    counts = Counter(each["verdict"] for each in found)
    return {
        "model": context.project.model.spec,
        "revision": context.project.model.revision,
        "dictionary": params.dictionary,
        "options": params.model_dump(mode="json"),
        "bounds": {
            "flipped": verdict.FLIPPED, "moved": verdict.MOVED, "above_controls": verdict.ABOVE_CONTROLS,
            "lost": verdict.HALVED, "lost_partly": verdict.LOST_PARTLY, "p": verdict.P_SUPPORTED,
            "p_partly": verdict.P_PARTLY,
        },
        "verdicts": {str(name): counts[str(name)] for name in verdict.Verdict},
        "behaviours": list(found),
    }  # fmt: skip
