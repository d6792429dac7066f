"""Validate a behaviour: what recurs over its prompts removed from all of them, beside as many random features.

The prompts are split by a seeded draw. Features are picked from the traces of one part (`found_on`): those that
`--recurs` of them, and two at least, kept. They are removed in the live model, jointly, at the same offset from the end
of every prompt (with `--anywhere`: at every position), on the part that they were picked from and on the held-out one.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.graphs.recurrence import Place, PromptGraph, RecurringFeature, prompt_graph, recurrence
from tasks.graphs.validation_summary import behaviour_summary
from tasks.validation_bench import GraphBench, graph_bench, removal_of, removed_values

if TYPE_CHECKING:
    from torch import Tensor

    from store.project import Project
    from tasks.context import Context
    from tasks.interventions.removal import FeatureValues
    from tasks.validate import Params

Document = dict[str, Any]
LISTED = 200
"""Features that the document lists."""


@dataclass(frozen=True)
class Prompt:
    """One prompt of the set: its graph on the bench, and what is compared between prompts."""

    text: str
    made: GraphBench
    graph: PromptGraph
    corrupt: tuple[int, ...] | None
    """The tokens of its corrupt twin, if it has one of equal length."""


@dataclass(frozen=True)
class BehaviourResult:
    """The measurements of one behaviour; its graphs are jobs of their own that are already stored."""

    document: Document

    def save(self, project: Project, job_id: int) -> Document:
        """No rows: what was measured belongs to no single graph."""
        return self.document


def validate_behaviour(params: Params, context: Context) -> BehaviourResult:
    """Trace the set where that was not done, pick what recurs, and remove it."""
    prompts = _prompts(params, context)
    found_on, held_out = _split(prompts, params)
    graphs = [prompt.graph for prompt in found_on]
    recurring = _recurring(graphs, params)
    circuit = [feature.place for feature in recurring]
    draws = _random_draws(graphs, circuit, params)
    with context.stage("remove features", len(prompts), "prompts") as stage:
        effects = {}
        for name, chosen in (("found_on", found_on), ("held_out", held_out)):
            effects[name] = _effects(chosen, circuit, draws, stage.advance) if chosen else None
    curves = _curves(params, context, found_on, held_out or found_on)
    document: Document = {
        "behaviour": params.behaviour,
        "dictionary": prompts[0].made.record.dictionary,
        "alignment": "anywhere" if params.anywhere else "offset from the end",
        "found_on": [prompt.text for prompt in found_on],
        "held_out": [prompt.text for prompt in held_out],
        "features": [_feature_document(feature) for feature in recurring[:LISTED]],
        "recurring": len(recurring),
        "features_by_layer": {str(layer): n for layer, n in sorted(Counter(p[0] for p in circuit).items())},
        "random_features": [len(draw) for draw in draws],
        "effects": effects,
        "removal": str(removal_of(params)),
        **curves,
    }
    return BehaviourResult(document | {"summary": behaviour_summary(document)})


def _prompts(params: Params, context: Context) -> list[Prompt]:
    """Every prompt of the set with its stored graph, traced if it is not there."""
    from store import graphs
    from tasks.trace import Params as TraceParams
    from tasks.trace_set import trace_behaviour

    options = ("behaviour", "directory", "dictionary", "layers", "max_nodes")
    traced = trace_behaviour(TraceParams(**{name: getattr(params, name) for name in options}), context).document
    prompts: list[Prompt] = []
    for number, graph in enumerate(traced["graphs"]):
        loaded = prompts[0].made.bench.dictionaries if prompts else None
        made = graph_bench(context, graph["graph"], params.batch, loaded)
        path = context.project.files.verify(graphs.arrays(context.project, made.record.id))
        nodes = graphs.nodes(context.project.db, made.record.id)
        text = graph["corrupt"]
        twin = None if text is None else tuple(context.model.tokenize(text, **made.form))
        if twin is not None and len(twin) != len(made.bench.tokens):
            twin = None
        name = f"{params.behaviour}/{number}"
        prompts.append(Prompt(graph["prompt"], made, prompt_graph(name, made.record, nodes, path), twin))
    if len(prompts) < 2:
        raise BadInput(f"{params.behaviour} has one prompt, and nothing can recur", "choose a set of several")
    return prompts


def _split(prompts: Sequence[Prompt], params: Params) -> tuple[list[Prompt], list[Prompt]]:
    """(those that features are picked from: two at least; the others), each in the set's order."""
    n_held_out = min(int(len(prompts) * params.held_out), len(prompts) - 2)
    held_out = set(random.Random(params.seed).sample(range(len(prompts)), n_held_out))
    found_on = [prompt for number, prompt in enumerate(prompts) if number not in held_out]
    return found_on, [prompts[number] for number in sorted(held_out)]


def _recurring(graphs: Sequence[PromptGraph], params: Params) -> list[RecurringFeature]:
    """The features that enough of the prompts kept, most frequent first."""
    found = recurrence(graphs)
    agreement = found.anywhere if params.anywhere else found.by_offset
    return [each for each in agreement.features if each.n_prompts >= 2 and each.frequency >= params.recurs]


def _random_draws(graphs: Sequence[PromptGraph], circuit: Sequence[Place], params: Params) -> list[list[Place]]:
    """As many features of each layer as `circuit` has, drawn from the others that are active in as many prompts.

    Activity is asked of as many prompts as recurrence is, so that a random feature is as often there to be removed.
    """
    times: Counter[Place] = Counter()
    for graph in graphs:
        times.update(_active_places(graph, params.anywhere))
    taken = set(circuit)
    pool: dict[int, list[Place]] = defaultdict(list)
    for place, n_prompts in sorted(times.items(), key=lambda item: (item[0][:2], item[0][2] or 0)):
        if place not in taken and n_prompts >= 2 and n_prompts / len(graphs) >= params.recurs:
            pool[place[0]].append(place)
    wanted = Counter(layer for layer, _, _ in circuit)
    generator = random.Random(params.seed)
    return [
        [
            place
            for layer, n in sorted(wanted.items())
            for place in generator.sample(pool[layer], min(n, len(pool[layer])))
        ]
        for _ in range(params.draws if circuit else 0)
    ]


def _active_places(graph: PromptGraph, anywhere: bool) -> set[Place]:
    """The places that are active in one prompt."""
    return {
        (layer, index, None if anywhere else position - graph.n_positions)
        for layer, index, position in graph.active.tolist()
    }


def _effects(
    prompts: Sequence[Prompt], circuit: Sequence[Place], draws: Sequence[Sequence[Place]], advance: Any
) -> Document:
    """Accuracy (the decisive token is the most probable) and mean logit difference: whole, ablated, random."""
    rows = []
    for prompt in prompts:
        rows.append(_outcomes(prompt, [[], circuit, *draws]))
        advance(1)
    columns = [_mean_outcome([row[number] for row in rows]) for number in range(2 + len(draws))]
    return {"prompts": len(prompts), **columns[0], "ablated": columns[1], "random": columns[2:]}


def _mean_outcome(outcomes: Sequence[tuple[bool, float]]) -> Document:
    return {
        "accuracy": sum(top for top, _ in outcomes) / len(outcomes),
        "logit_difference": sum(difference for _, difference in outcomes) / len(outcomes),
    }


def _outcomes(prompt: Prompt, sets: Sequence[Sequence[Place]]) -> list[tuple[bool, float]]:
    """For each set of places removed to zero: (the decisive token is on top, its logit difference in nats)."""
    import torch

    from tasks.circuits.targets import LogitTarget
    from tasks.interventions.edits import Edits
    from tasks.interventions.intervene import edited_logits

    bench, device = prompt.made.bench, prompt.made.bench.model.device
    target = bench.target
    if not isinstance(target, LogitTarget):  # a behaviour's traces explain logits
        raise BadInput("a behaviour is validated by its logits", "trace it without a feature as target")
    table = [(row, *place) for row, places in enumerate(sets) for place in _in_prompt(prompt, places)]
    columns = torch.tensor(table, dtype=torch.long, device=device).view(-1, 4)
    row, layer, position, index = columns.unbind(1)
    zeros = torch.zeros(len(columns), device=device)
    edits = Edits(row, layer, position, index, zeros, zeros)
    logits = edited_logits(bench.model, bench.tokens, bench.dictionaries, edits, len(sets))
    top = logits[:, target.position].argmax(-1) == target.token
    return list(zip(top.tolist(), target.value(logits).tolist(), strict=True))


def _in_prompt(prompt: Prompt, places: Sequence[Place]) -> list[tuple[int, int, int]]:
    """(layer, position, feature) of the places that the prompt has, those before its first features left out."""
    n, start = len(prompt.made.bench.tokens), prompt.made.start
    found: list[tuple[int, int, int]] = []
    for layer, index, offset in places:
        positions = range(start, n) if offset is None else [n + offset] if n + offset >= start else []
        found.extend((layer, position, index) for position in positions)
    return found


def _curves(params: Params, context: Context, found_on: Sequence[Prompt], measured_on: Sequence[Prompt]) -> Document:
    """f over sizes on prompts that the ranking was not made from; m is the mean target over prompts (as MIB does).

    Ranked by mean |predicted effect| over the prompts that features are picked from, and at random.
    """
    from tasks.interventions.faithfulness_curve import SIZES, curve
    from tasks.interventions.removal import Removal

    usable = [each for each in measured_on if removal_of(params) is not Removal.CORRUPT or each.corrupt is not None]
    if not usable:
        raise BadInput("no prompt has a corrupt twin of equal length", "take --removal zero or mean")
    scores = _mean_scores(found_on, params.anywhere)
    others = [
        tokens for each in (*found_on, *measured_on) for tokens in (each.made.bench.tokens, each.corrupt) if tokens
    ]
    values, nothing, whole = [], [], []
    with context.stage("circuits of every size", len(usable), "prompts") as stage:
        for prompt in usable:
            removed = removed_values(params, context, prompt.made.bench, prompt.corrupt, others)
            values.append(_by_size(prompt, scores, removed, params))
            nothing.append(_nothing(prompt, removed))
            whole.append(prompt.made.bench.baseline())
            stage.advance()
    ends = _mean(whole), _mean(nothing)
    rows = [[_mean(column) for column in zip(*ranked, strict=True)] for ranked in zip(*values, strict=True)]
    curves = {name: curve(row, *ends) for name, row in zip(("predicted_effect", "random"), rows, strict=True)}
    return {
        "sizes": list(SIZES),
        "curve_prompts": len(usable),
        "whole": ends[0],
        "nothing": ends[1],
        "curves": {name: vars(each) for name, each in curves.items()},
        "cpr": curves["predicted_effect"].cpr,
        "cmd": curves["predicted_effect"].cmd,
    }


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _by_size(prompt: Prompt, scores: dict[Place, float], removed: FeatureValues, params: Params) -> list[list[float]]:
    """[ranking, size] of one prompt: the target with the features of highest score alone, and with random ones."""
    from tasks.interventions.faithfulness_curve import random_scores, values_by_size

    bench, features = prompt.made.bench, prompt.made.claims.features
    rankings = [
        _scores_in(prompt, scores, params.anywhere),
        random_scores(len(features), params.seed, bench.model.device),
    ]
    values: list[list[float]] = values_by_size(bench, features, rankings, removed, prompt.made.start).tolist()
    return values


def _nothing(prompt: Prompt, removed: FeatureValues) -> float:
    """The target with every feature removed."""
    import torch

    from tasks.interventions.removal import values_keeping

    features, device = prompt.made.claims.features, prompt.made.bench.model.device
    none = torch.zeros(1, len(features), dtype=torch.bool, device=device)
    return float(values_keeping(prompt.made.bench, features, none, none[:, 0], removed, prompt.made.start)[0])


def _mean_scores(prompts: Sequence[Prompt], anywhere: bool) -> dict[Place, float]:
    """The mean |predicted effect| of every active place over the prompts; zero where it is not active."""
    scores: dict[Place, float] = defaultdict(float)
    for prompt in prompts:
        for place, effect in zip(_places(prompt, anywhere), prompt.made.claims.predicted.tolist(), strict=True):
            scores[place] += abs(effect) / len(prompts)
    return scores


def _scores_in(prompt: Prompt, scores: dict[Place, float], anywhere: bool) -> Tensor:
    """The score of each active feature of a prompt; zero of one that no prompt before had."""
    import torch

    found = [scores.get(place, 0.0) for place in _places(prompt, anywhere)]
    return torch.tensor(found, device=prompt.made.bench.model.device)


def _places(prompt: Prompt, anywhere: bool) -> list[Place]:
    """The place of each active feature, in the order of the claims."""
    features, n = prompt.made.claims.features, len(prompt.made.bench.tokens)
    columns = zip(features.layer.tolist(), features.index.tolist(), features.position.tolist(), strict=True)
    return [(layer, index, None if anywhere else position - n) for layer, index, position in columns]


def _feature_document(feature: RecurringFeature) -> Document:
    kept = ("feature", "layer", "index", "offset", "prompts", "frequency", "expected_frequency",
            "mean_predicted_effect_nats")  # fmt: skip
    document = feature.document()
    return {name: document[name] for name in kept}
