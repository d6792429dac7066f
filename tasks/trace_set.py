"""Trace every prompt of a behaviour, and see which features come back from prompt to prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.behaviours import OWN_DIRECTORY, Behaviour, Pair, choose_behaviours, fitting

if TYPE_CHECKING:
    from store.project import Project
    from tasks.context import Context
    from tasks.trace import Params

_OF_THE_SET = ("prompt", "target", "versus")
"""Options that a behaviour's own pairs fill in."""


@dataclass(frozen=True)
class SetResult:
    """The graphs of a prompt set, each a job of its own that is already stored."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: the graphs' own jobs wrote theirs."""
        return self.document


def trace_behaviour(params: Params, context: Context) -> SetResult:
    """One graph a pair (one that is there already is not traced again), and what recurs among them.

    Of each pair the clean prompt is traced, for the decisive token against the rival. Pairs that do not fit the model's
    tokenizer are left out and named; in a file of one's own they are `BadInput`.
    """
    given = [name for name in _OF_THE_SET if getattr(params, name)]
    if given:
        raise BadInput(f"--behaviour brings its own {given[0]}", f"leave {given[0]} away, or --behaviour")
    (behaviour,) = choose_behaviours([params.behaviour], Path(params.directory) if params.directory else OWN_DIRECTORY)
    checked = fitting(context.model, behaviour, params.directory, context.progress.note)
    if not checked.pairs:
        reason = checked.refused[0]
        raise BadInput(f"no pair of {behaviour.name} fits this model's tokenizer: {reason}", "choose another behaviour")
    graphs = trace_pairs(params, behaviour, [behaviour.pairs[number] for number in checked.pairs], context)
    lacking = sum(graph["rank"] != 0 for graph in graphs)
    if lacking:
        context.progress.note(f"the decisive token is not the most probable one in {lacking} of {len(graphs)} prompts")
    recurring = recurrence_document(context.project, behaviour.name, [graph["graph"] for graph in graphs])
    refused = [{"pair": number, "reason": reason} for number, reason in checked.refused.items()]
    document = {"behaviour": behaviour.name, "graphs": graphs, "refused": refused, "recurrence": recurring}
    return SetResult(document)


def trace_pairs(params: Params, behaviour: Behaviour, pairs: Sequence[Pair], context: Context) -> list[dict[str, Any]]:
    """What was traced of some pairs of a behaviour, one document each; a graph that is there is not traced again."""
    from tasks.execute import execute

    documents = []
    with context.stage(f"trace {behaviour.name}", len(pairs), "prompts") as stage:
        for pair in pairs:
            documents.append(execute("trace", _params_of(params, behaviour, pair), context, reuse=True))
            stage.advance()
    return [_graph_document(pair, document) for pair, document in zip(pairs, documents, strict=True)]


def _params_of(params: Params, behaviour: Behaviour, pair: Pair) -> Params:
    own = {"behaviour": "", "directory": "", "prompt": pair.clean, "target": pair.decisive, "versus": pair.rival}
    return params.model_copy(update=own | behaviour.form(pair))


def _graph_document(pair: Pair, document: dict[str, Any]) -> dict[str, Any]:
    kept = ("graph", "closing_error", "replacement_score", "completeness_score", "kept_nodes", "kept_edges")
    target = document["targets"][0]
    return {
        "prompt": pair.clean,
        "corrupt": pair.corrupt,
        "decisive": pair.decisive,
        "rival": pair.rival,
        "probability": target["probability"],
        "rank": target["rank"],
        "value": target["value"],
        **{key: document[key] for key in kept},
    }


def recurrence_document(project: Project, name: str, graph_ids: list[int]) -> dict[str, Any]:
    """What recurs among these graphs of a behaviour, as JSON."""
    from store import graphs
    from tasks.graphs.recurrence import prompt_graph, recurrence

    prompts = []
    for number, graph_id in enumerate(graph_ids):
        record = graphs.find(project.db, graph_id)
        path = project.files.verify(graphs.arrays(project, graph_id))
        prompts.append(prompt_graph(f"{name}/{number}", record, graphs.nodes(project.db, graph_id), path))
    return recurrence(prompts).document()
