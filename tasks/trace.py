"""Trace: an attribution graph from input tokens through features to decisive logits, pruned (METHOD §1-§4)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import needs_special_start, option

if TYPE_CHECKING:
    from store.files import StoredFile
    from store.project import Project
    from tasks.circuits.attribution import Attribution
    from tasks.circuits.frozen import FrozenRun
    from tasks.circuits.graph_file import Row
    from tasks.circuits.nodes import ActiveFeatures
    from tasks.circuits.sweep import Sweep
    from tasks.circuits.targets import Target
    from tasks.context import Context
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.graphs.prune import Pruned
    from tasks.trace_set import SetResult


MAX_FEATURES = 7500
"""Budget of a graph of sparse features: circuit-tracer's."""
MAX_NEURONS = 1024
"""Budget of a graph of neurons: every one of them is active, and most of their influence is spread thin."""
NEURONS = "neurons"


class Params(_Params):
    """The options of `workbench trace`."""

    prompt: str = option("", "The prompt.", argument=True)
    behaviour: str = option("", "Trace every prompt of this behaviour, for its decisive token against the rival.")
    directory: str = option("", "A directory of your own behaviours (*.toml) in place of the workbench's.")
    dictionary: str = option(
        "neurons", "neurons, a set by name, or transcoder:DIRECTORY | CONFIG.yaml | org/repo[@revision]."
    )
    layers: str | None = option(None, "Only the dictionaries of these layers, as 4-12,20; the others pass through.")
    target: str | None = option(
        None, "Explain this token's logit, or this feature (L12/345@7); default: the most probable next tokens."
    )
    versus: str | None = option(None, "Explain the logit of --target against this token's.")
    at: int = option(-1, "Explain what is predicted after this position; -1 is the last.")
    chat: bool = option(False, "Put the prompt through the model's chat template.")
    system: str = option("", "The chat's system text.")
    prefill: str = option("", "The beginning of the chat's answer.")
    special_start: bool = option(False, "Start with the BOS token if the tokenizer does not; transcoders always do.")
    rule: Literal["ray", "half", "frozen-gate"] = option("ray", "How a gated neuron is shared between its two inputs.")
    max_logits: int = option(10, "At most this many next tokens are explained.", ge=1)
    logit_probability: float = option(0.95, "Next tokens up to this cumulative probability.", gt=0.0, le=1.0)
    max_nodes: int | None = option(
        None, "At most this many features are attributed, by influence; default 7500, of neurons 1024.", ge=1
    )
    refresh: int = option(512, "Features attributed before influence is computed anew.", ge=1)
    node_threshold: float = option(0.8, "Keep the nodes that carry this part of all influence.", ge=0.0, le=1.0)
    edge_threshold: float = option(0.98, "Keep the edges that carry this part of what is left.", ge=0.0, le=1.0)
    unreplaced: Literal["pass", "error"] = option("pass", "Layers without a dictionary: passed through, or errors.")
    first_position: bool = option(False, "Let position 0, the attention sink, have features.")
    edge_effects: bool = option(True, "Compute the live effect of each kept edge (one backward pass a kept node).")
    block: int = option(128, "Rows pulled back at once, if they fit into --memory.", unit="rows", ge=1)
    memory: float = option(2.0, "What attribution may take beside model and prompt.", unit="GiB", gt=0.0)
    batch: int = option(32, "Copies of the prompt run at once for effects.", unit="prompts", ge=1)


@dataclass(frozen=True)
class Result:
    """A graph on its way into the store."""

    params: Params
    dictionary: str
    """The set's name, such that it is found again from anywhere."""
    tokens: tuple[int, ...]
    targets: list[dict[str, object]]
    arrays: StoredFile
    nodes: list[Row]
    edges: list[Row]
    summary: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `graph`, `node` and `edge`."""
        summary, params = self.summary, self.params
        cursor = project.db.execute(
            "INSERT INTO graph (job_id, prompt, tokens, dictionary, targets, rule, file_id, closing_error,"
            " replacement_score, completeness_score, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                job_id, params.prompt, json.dumps(self.tokens), self.dictionary, json.dumps(self.targets),
                params.rule, project.record_file(self.arrays), summary["closing_error"],
                summary["replacement_score"], summary["completeness_score"], json.dumps(summary),
            ],
        )  # fmt: skip
        graph = cursor.lastrowid
        places = ", ".join("?" * 11)
        project.db.conn.executemany(f"INSERT INTO node VALUES ({places})", [(graph, *row) for row in self.nodes])
        project.db.conn.executemany("INSERT INTO edge VALUES (?, ?, ?, ?, ?)", [(graph, *row) for row in self.edges])
        return {"graph": graph, **summary, "targets": self.targets}


def run(params: Params, context: Context) -> Result | SetResult:
    """Attribute, score, prune, and put share and predicted effect on every node that was kept."""
    if params.behaviour:
        from tasks.trace_set import trace_behaviour

        return trace_behaviour(params, context)
    if params.directory:
        raise BadInput("--directory is where behaviours are, and none is named", "name one with --behaviour")
    return _traced(params, context)


def _traced(params: Params, context: Context) -> Result:
    from tasks.circuits import graph_file
    from tasks.circuits.measures import measure_nodes
    from tasks.graphs.prune import prune

    sweep, targets = _prepared(params, context)
    graph = _attributed(params, context, sweep, targets)
    measures = measure_nodes(sweep, targets[0], first_position=params.first_position)
    pruned = prune(graph.raw(), params.node_threshold, params.edge_threshold)
    if not len(graph_file.kept_features(graph, pruned)):
        context.progress.note(
            f"no feature is among the nodes that carry {params.node_threshold:g} of the influence: raise "
            "--node-threshold (layers without a dictionary pass influence on to the tokens) or --memory"
        )
    if params.edge_effects:
        _add_edge_effects(params, context, sweep, graph, pruned)
    active = sweep.sources.features
    return Result(
        params=params,
        dictionary=sweep.dictionaries.name,
        tokens=sweep.run.tokens,
        targets=graph_file.target_documents(context.model, graph),
        arrays=context.project.files.write(
            "graphs",
            "graph.safetensors",
            lambda path: graph_file.write_arrays(path, graph, pruned, active, measures),
        ),
        nodes=graph_file.node_rows(graph, pruned, measures),
        edges=graph_file.edge_rows(pruned),
        summary=_summary(params, context, sweep, graph, pruned) | {"unreplaced_share": measures.unreplaced_share},
    )


def _prepared(params: Params, context: Context) -> tuple[Sweep, list[Target]]:
    """The frozen run of the prompt, its sources, and what is to be explained."""
    from tasks.circuits.frozen import freeze
    from tasks.circuits.linearise import Rule
    from tasks.circuits.nodes import find_sources
    from tasks.circuits.sweep import Sweep

    model = context.model
    tokens = model.tokenize(
        params.prompt, chat=params.chat, system=params.system, prefill=params.prefill,
        special_start=needs_special_start(params.dictionary, params.special_start),
    )  # fmt: skip
    if len(tokens) < 2 and not params.first_position:
        raise BadInput("the prompt is one token, and position 0 is no source", "write more, or add --first-position")
    dictionaries = _dictionaries(params, context)
    position = _position(params, len(tokens))
    frozen = freeze(model, tokens)
    sources = find_sources(
        model,
        frozen,
        dictionaries,
        first_position=params.first_position,
        unreplaced_as_error=params.unreplaced == "error",
    )
    targets = _targets(params, context, frozen, sources.features, position)
    return Sweep(model, frozen, dictionaries, sources, Rule(params.rule), context.check), targets


def _position(params: Params, n_positions: int) -> int:
    """The position after which the explained token stands, counted from 0."""
    first = 0 if params.first_position else 1
    position = params.at + n_positions if params.at < 0 else params.at
    if not first <= position < n_positions:
        raise BadInput(
            f"--at {params.at} is outside the prompt's {n_positions} tokens",
            f"its positions are {first} to {n_positions - 1}, or -1 for the last",
        )
    return position


def _dictionaries(params: Params, context: Context) -> DictionarySet:
    dictionaries = context.dictionary_set(params.dictionary)
    for note in dictionaries.notes:
        context.progress.note(note)
    return dictionaries if params.layers is None else dictionaries.only(context.model.parse_layers(params.layers))


def _targets(
    params: Params, context: Context, frozen: FrozenRun, active: ActiveFeatures, position: int
) -> list[Target]:
    from tasks.circuits.retrace import prompt_position
    from tasks.circuits.targets import feature_target, named_logit, salient_logits
    from tasks.graphs.feature_name import parse_feature

    probabilities = context.model.capped(frozen.logits_at([position])[0]).softmax(-1)
    if params.target is None:
        if params.versus is not None:
            raise BadInput("--versus names a rival of no target", "name the token it rivals with --target")
        return [*salient_logits(probabilities, position, params.max_logits, params.logit_probability)]
    if not _names_feature(params.target):
        return [named_logit(context.model, probabilities, position, params.target, params.versus)]
    if params.versus is not None:
        raise BadInput("a feature has no rival", "leave --versus away")
    name = parse_feature(params.target)
    several_places = len(name.positions or (0,)) > 1 or params.target.endswith("@*")
    if len(name.layers) > 1 or name.feature is None or several_places:
        raise BadInput(f"{params.target!r} names several features", "name one, as L12/345@7")
    if name.layers[0] >= context.model.n_layers:
        last = context.model.n_layers - 1
        raise BadInput(f"{context.model.spec} has no layer {name.layers[0]}", f"its layers are 0 to {last}")
    at = (name.positions or (position,))[0]
    return [feature_target(active, name.layers[0], name.feature, prompt_position(at, len(frozen.tokens)))]


def _names_feature(target: str) -> bool:
    """Whether a target is written as a feature: L, a number, a stroke."""
    return re.match(r"L[0-9,-]+/", target) is not None


def _attributed(params: Params, context: Context, sweep: Sweep, targets: list[Target]) -> Attribution:
    from tasks.circuits.attribution import attribute

    max_nodes = params.max_nodes or (MAX_NEURONS if params.dictionary == NEURONS else MAX_FEATURES)
    total = min(max_nodes, len(sweep.sources.features))
    with context.stage("attribute features", total, "features") as stage:
        return attribute(
            sweep,
            targets,
            max_nodes=max_nodes,
            refresh=params.refresh,
            block=params.block,
            memory=int(params.memory * 2**30),
            advance=stage.advance,
        )


def _add_edge_effects(params: Params, context: Context, sweep: Sweep, graph: Attribution, pruned: Pruned) -> None:
    from tasks.circuits.effect import direct_effects
    from tasks.circuits.graph_file import add_effects, kept_features

    kept = graph.features.take(kept_features(graph, pruned))
    with context.stage("effects of kept edges", len(kept) + len(graph.targets), "nodes") as stage:
        effects = direct_effects(
            sweep.model,
            sweep.run.tokens,
            sweep.dictionaries,
            kept,
            kept,
            graph.targets,
            first_position=params.first_position,
            batch=params.batch,
            advance=stage.advance,
        )
    add_effects(graph, pruned, effects.of_features, effects.of_tokens)


def _summary(params: Params, context: Context, sweep: Sweep, graph: Attribution, pruned: Pruned) -> dict[str, Any]:
    from tasks.graphs.influence import scores

    graph_scores = scores(pruned.raw)
    size = float(graph.size.sum())
    return {
        "n_layers": graph.n_layers,
        "tokens": [context.model.token_text(token) for token in graph.tokens],
        "closing_error": float(graph.closing_error.max()),
        "replacement_score": graph_scores.replacement,
        "completeness_score": graph_scores.completeness,
        "active_features": graph.n_active,
        "attributed_features": len(graph.features),
        "unattributed_share": float(graph.unattributed_size.clamp(min=0).sum()) / size,
        "chat": params.chat,
        "system": params.system,
        "prefill": params.prefill,
        "special_start": needs_special_start(params.dictionary, params.special_start),
        "first_position": params.first_position,
        "unreplaced": params.unreplaced,
        "node_threshold": params.node_threshold,
        "edge_threshold": params.edge_threshold,
        "dictionary_layers": sorted(sweep.dictionaries.layers),
        "nodes": graph.n_nodes,
        "edges": len(graph.source),
        "kept_nodes": pruned.graph.number_of_nodes(),
        "kept_edges": pruned.graph.number_of_edges(),
    }
