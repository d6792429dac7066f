"""The table of contents: which tasks there are, in the order of the research, and how one is run.

A task is one module with `Params` (its options) and `run(params, context) -> Result`. Nothing here, and nothing at the
module level of a task, imports torch: params are read by the command line and by forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from store.errors import BadInput

if TYPE_CHECKING:
    from store.project import Project
    from tasks.context import Context
    from tasks.params import Params


class Result(Protocol):
    """What a task leaves behind."""

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """Write the rows (inside the caller's transaction, with the job's `succeeded`) and return the JSON document."""


@dataclass(frozen=True)
class Task:
    """One step of the research: its kind (the subcommand's name), what it does, and the module that does it."""

    kind: str
    summary: str
    module: str
    group: str = ""
    """The command that it is a subcommand of (`graph`: `workbench graph KIND`); none of a command of its own."""
    verb: str = ""
    """What the subcommand is called, where that is not the kind: kinds are unique among all groups."""

    @property
    def words(self) -> tuple[str, ...]:
        """What is typed after `workbench` to run it."""
        own = self.verb or self.kind
        return (self.group, own) if self.group else (own,)

    @property
    def params_type(self) -> type[Params]:
        """The task's `Params` class."""
        params: type[Params] = import_module(self.module).Params
        return params

    def run(self, params: Params, context: Context) -> Result:
        """Do the work. Files are written durably as it goes; rows only by `Result.save`."""
        result: Result = import_module(self.module).run(params, context)
        return result


TASKS: dict[str, Task] = {
    task.kind: task
    for task in (
        Task(
            "baseline",
            "Does the model do the behaviour at all? Prompt sets, p, rank, logit difference.",
            "tasks.baseline",
        ),
        Task("capture", "MLP hidden activations of chosen layers, from a corpus to shards.", "tasks.capture"),
        Task("train", "One sparse autoencoder a layer, with a validation split and reported quality.", "tasks.train"),
        Task(
            "evaluate",
            "The replacement model: FVU, L0, dead share, CE and KL recovered, per layer and jointly.",
            "tasks.evaluate",
        ),
        Task("index", "Top examples, promoted tokens and density of every feature.", "tasks.interpret"),
        Task(
            "label",
            "What features mean in a judge's words, and how well these tell where a feature is active.",
            "tasks.label",
            "features",
        ),
        Task(
            "feature-quality",
            "Dead, dense, duplicated and token-bound features, and how few carry most of the variance.",
            "tasks.feature_quality",
            "features",
            "quality",
        ),
        Task("trace", "An attribution graph from input tokens through features to decisive logits.", "tasks.trace"),
        Task("intervene", "Ablate, scale, steer or swap features; what the logits do.", "tasks.intervene"),
        Task(
            "validate", "Every claim of a graph measured in the real model, beside random controls.", "tasks.validate"
        ),
        Task("prune", "A smaller or larger graph from a stored one, at other thresholds.", "tasks.reprune", "graph"),
        Task(
            "import", "A graph JSON of circuit-tracer, Neuronpedia or another project.", "tasks.import_graph", "graph"
        ),
        Task(
            "import-dictionary",
            "SAEs that SAELens or sparsify trained on the MLP hidden, as a set of this project.",
            "tasks.import_dictionary",
            "dictionaries",
            "import",
        ),
        Task("heads", "The attention heads that carry an edge of a graph.", "tasks.heads", "graph"),
        Task("qk", "The pairs of sources that make a head attend from here to there.", "tasks.qk", "graph"),
        Task(
            "reproduce",
            "The paper's case studies on this model: baseline, circuits, hypotheses, verdicts.",
            "tasks.reproduce",
        ),
        Task("pack", "Everything another machine needs to check the numbers, in one file.", "tasks.pack"),
    )
}


def task(kind: str) -> Task:
    """The task of that kind; `BadInput` names the kinds there are."""
    if kind not in TASKS:
        raise BadInput(f"no task named {kind!r}", f"the tasks are {', '.join(TASKS)}")
    return TASKS[kind]
