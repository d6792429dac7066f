"""Validate a stored graph: its features, supernodes, edges and its circuit, each measured in the real model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.validation_bench import GraphBench, behaviour_prompts, graph_bench, removal_of, removed_values, values_at
from tasks.validation_result import Circuit, Edge, Group, Measured, Result

if TYPE_CHECKING:
    from torch import Tensor

    from store.graphs import EdgeRecord, NodeRecord
    from tasks.context import Context, Stage
    from tasks.interventions.edge_tests import EdgeTest
    from tasks.interventions.removal import FeatureValues
    from tasks.validate import Params


def validate_graph(params: Params, context: Context) -> Result:
    """Ablate, swap and control features; remove supernodes; test edges; remove the circuit's complement."""
    from tasks.interventions.agreement import noise_floor
    from tasks.interventions.write_size import write_sizes

    if params.removal == "corrupt" and params.from_ is None:
        raise BadInput("--removal corrupt has no corrupt prompt", "give it with --from")
    made = graph_bench(context, int(params.graph or 0), params.batch)
    corrupt = None if params.from_ is None else _corrupt_tokens(context, made, params.from_)
    others = behaviour_prompts(params, context, made.form)
    removed = removed_values(params, context, made.bench, corrupt, others)
    kept, swapped, controls = _features(params, context, made, corrupt)
    groups = _groups(params, context, made)
    edges = _edges(params, context, made)
    return Result(
        graph=made.record.id,
        kept=kept,
        swapped=swapped,
        controls=controls,
        write_size=write_sizes(made.bench.model, made.clean_run, made.bench.dictionaries, kept.features),
        groups=groups,
        edges=edges,
        circuit=_circuit(params, made, removed),
        floor=noise_floor(controls.known().effect.cpu().double().numpy()),
        baseline=made.bench.baseline(),
        probability=made.probability,
        metric=_metric_name(made.record.targets[0]),
        seed=params.seed,
        leaves=_leaves(context, made),
    )


def _corrupt_tokens(context: Context, made: GraphBench, prompt: str) -> tuple[int, ...]:
    from tasks.interventions.request import refuse_unequal

    tokens = tuple(context.model.tokenize(prompt, **made.form))
    refuse_unequal(made.bench.tokens, tokens)
    return tokens


def _features(
    params: Params, context: Context, made: GraphBench, corrupt: tuple[int, ...] | None
) -> tuple[Measured, Measured | None, Measured]:
    """The kept features ablated, the same swapped where there is a corrupt prompt, and the controls ablated."""
    import torch

    from tasks.interventions.removal import feature_values
    from tasks.interventions.validation import matched_controls

    claims = made.claims
    rows = claims.kept.nonzero().squeeze(1)
    tested = _strongest(claims.predicted[rows], params.max_tests)
    mask = torch.zeros_like(claims.kept).index_fill(0, rows[tested], True)
    controls = rows[:0]
    if params.controls:
        controls = matched_controls(
            claims.features, mask, torch.Generator().manual_seed(params.seed), never=claims.kept & ~mask
        )
    with context.stage(
        "measure effects", int(tested.sum()) * (1 + (corrupt is not None)) + len(controls), "edits"
    ) as s:
        every = torch.ones(len(controls), dtype=torch.bool, device=rows.device)
        kept = _ablated(made, rows, tested, s)
        there = None if corrupt is None else feature_values(made.bench.model, made.bench.dictionaries, corrupt)
        swapped = None if there is None else _swapped(made, rows, tested, there, s)
        return kept, swapped, _ablated(made, controls, every, s)


def _strongest(predicted: Tensor, most: int | None) -> Tensor:
    """A mask of the `most` largest |predicted|; of all without a bound."""
    import torch

    order = predicted.abs().argsort(descending=True, stable=True)[:most]
    return torch.zeros(len(predicted), dtype=torch.bool, device=predicted.device).index_fill(0, order, True)


def _ablated(made: GraphBench, rows: Tensor, tested: Tensor, stage: Stage) -> Measured:
    """These features; the tested ones each alone at zero, the others with effect NaN."""
    features = made.claims.features.take(rows)
    return _measured(made, rows, features.activation * 0, tested, made.claims.predicted[rows], stage)


def _swapped(made: GraphBench, rows: Tensor, tested: Tensor, there: FeatureValues, stage: Stage) -> Measured:
    """The same, each at its value in the corrupt prompt; first order in the distance moved."""
    features = made.claims.features.take(rows)
    value = values_at(there, features)
    predicted = made.claims.predicted[rows] * (1 - value / features.activation)
    return _measured(made, rows, value, tested, predicted, stage)


def _measured(
    made: GraphBench, rows: Tensor, value: Tensor, tested: Tensor, predicted: Tensor, stage: Stage
) -> Measured:
    features = made.claims.features.take(rows)
    effect = predicted.new_full((len(rows),), float("nan"))
    where = tested.nonzero().squeeze(1)
    effect[where] = made.bench.effects_of_setting(features.take(where), value[where], stage)
    return Measured(features, made.claims.share[rows], predicted, effect, tested)


def _groups(params: Params, context: Context, made: GraphBench) -> list[Group]:
    """Supernodes of features removed as one, and a matched random group of the size of each; others are not tested."""
    import torch

    from store import graphs
    from tasks.interventions.group_effects import measured_group_effects, predicted_group_effect
    from tasks.interventions.validation import matched_controls, rows_at

    named = _largest(graphs.supernodes(context.project.db, made.record.id), params.supernodes)
    nodes = {node.node: node for node in graphs.nodes(context.project.db, made.record.id)}
    found: list[Group] = []
    generator = torch.Generator().manual_seed(params.seed)
    with context.stage("measure supernodes", len(named), "supernodes") as stage:
        for name, members in named.items():
            kept = [nodes[node] for node in members if node in nodes and nodes[node].kind == "feature"]
            places = torch.tensor([_place(node) for node in kept], dtype=torch.long).view(-1, 3)
            mask = rows_at(made.claims.features, places.to(made.bench.model.device))
            rows = mask.nonzero().squeeze(1)
            if not len(rows):
                found.append(Group(name, members, 0, None, None, None, None))
                continue
            control = matched_controls(made.claims.features, mask, generator, never=made.claims.kept)
            features = [made.claims.features.take(each) for each in (rows, control)]
            measured = measured_group_effects(made.bench, features).tolist()
            predicted = predicted_group_effect(made.bench, features[0])
            first_order = float(made.claims.predicted[rows].sum())
            complete = len(control) == len(rows)
            found.append(
                Group(name, members, len(rows), first_order, predicted, measured[0], measured[1] if complete else None)
            )
            stage.advance()
    return found


def _largest(named: dict[str, list[int]], most: int | None) -> dict[str, list[int]]:
    """The `most` supernodes with most nodes, all without a bound; in the order in which they were given."""
    chosen = sorted(named, key=lambda name: -len(named[name]))[:most]
    return {name: members for name, members in named.items() if name in chosen}


def _edges(params: Params, context: Context, made: GraphBench) -> list[Edge]:
    """The strongest edges between features and to what is explained, and as many random others, tested."""
    from store import graphs
    from tasks.interventions.edge_tests import measure_edges, predicted_direct_effects

    if not params.edges:
        return []
    nodes = {node.node: node for node in graphs.nodes(context.project.db, made.record.id)}
    chosen = _chosen_edges(params, made, nodes, graphs.edges(context.project.db, made.record.id))
    if not chosen:
        return []
    tests = [test for _, test, _ in chosen]
    sources = len({test.source for test in tests})
    with context.stage("measure edges", sources, "sources") as stage:
        found = measure_edges(made.bench, made.claims.features, tests, made.clean, made.start, stage.advance)
    direct = [edge.effect for edge, _, _ in chosen]
    if any(effect is None for effect in direct):
        direct = predicted_direct_effects(made.bench, made.claims.features, tests, made.start).tolist()
    columns = (found.clean, found.direct, found.predicted_total, found.total)
    return [
        Edge(
            source=edge.source,
            target=edge.target,
            names=(_name(nodes[edge.source], made), _name(nodes[edge.target], made)),
            control=is_control,
            share=edge.share,
            target_size=nodes[edge.target].input_size or 1.0,
            predicted_direct=float(predicted or 0.0),
            clean=clean,
            direct=measured,
            predicted_total=expected,
            total=total,
        )
        for (edge, _, is_control), predicted, clean, measured, expected, total in zip(
            chosen, direct, *(column.tolist() for column in columns), strict=True
        )
    ]


def _chosen_edges(
    params: Params, made: GraphBench, nodes: dict[int, NodeRecord], edges: list[EdgeRecord]
) -> list[tuple[EdgeRecord, EdgeTest, bool]]:
    """(edge, test, whether it is a control): the strongest, then a seeded draw from the others.

    Strength is |effect| (|share| where no effect is known) in nats of the decisive target, to which a target's unit is
    worth what its own predicted effect says.
    """
    import random

    from tasks.interventions.edge_tests import EdgeTest

    targets = _targets(made, nodes)
    rows = _rows(made)
    known = [
        (edge, EdgeTest(rows[place], targets[edge.target]))
        for edge in edges
        if nodes[edge.source].kind == "feature"
        and (place := _place(nodes[edge.source])) in rows
        and edge.target in targets
    ]
    weights = _nats_per_unit(made, nodes)
    known.sort(
        key=lambda pair: -abs(pair[0].share if pair[0].effect is None else pair[0].effect) * weights[pair[0].target]
    )
    rest = known[params.edges :]
    n_controls = min(params.edges, len(rest)) if params.controls else 0
    rest = random.Random(params.seed).sample(rest, n_controls)
    return [(edge, test, False) for edge, test in known[: params.edges]] + [(edge, test, True) for edge, test in rest]


def _targets(made: GraphBench, nodes: dict[int, NodeRecord]) -> dict[int, Any]:
    """Node -> what it is as a target: what the graph explains, and its kept features that are active."""
    from tasks.circuits.graph_file import stored_target
    from tasks.circuits.targets import FeatureTarget

    rows = _rows(made)
    targets: dict[int, Any] = {
        node.node: FeatureTarget(node.layer, node.feature, node.position, node.activation)
        for node in nodes.values()
        if node.kind == "feature" and _place(node) in rows
    }
    return targets | {int(each["node"]): stored_target(each) for each in made.record.targets if "node" in each}


def _nats_per_unit(made: GraphBench, nodes: dict[int, NodeRecord]) -> dict[int, float]:
    """Target -> what a unit of it is worth: |predicted effect| / |activation| of a feature, a logit's probability.

    The decisive target counts as it is.
    """
    rows, claims = _rows(made), made.claims
    worth = (claims.predicted / claims.features.activation).abs().nan_to_num(0.0, 0.0, 0.0).tolist()
    features = {
        node.node: worth[rows[place]]
        for node in nodes.values()
        if node.kind == "feature" and (place := _place(node)) in rows
    }
    explained = [each for each in made.record.targets if "node" in each]
    logits = {int(each["node"]): float(each["probability"]) for each in explained[1:]}
    return features | logits | {int(each["node"]): 1.0 for each in explained[:1]}


def _rows(made: GraphBench) -> dict[tuple[int, int, int], int]:
    """(layer, position, feature) -> its row among the active features."""
    features = made.claims.features
    columns = (features.layer.tolist(), features.position.tolist(), features.index.tolist())
    return {place: row for row, place in enumerate(zip(*columns, strict=True))}


def _place(node: NodeRecord) -> tuple[int, int, int]:
    return node.layer, node.position, node.feature


def _name(node: NodeRecord, made: GraphBench) -> str:
    """`L12/345@7`, or `logit`, `logit:1` … of what the graph explains."""
    if node.kind != "logit":
        return f"L{node.layer}/{node.feature}@{node.position}"
    number = [each.get("node") for each in made.record.targets].index(node.node)
    return f"logit:{number}" if number else "logit"


def _circuit(params: Params, made: GraphBench, removed: FeatureValues) -> Circuit:
    """The circuit alone and without it; and the curves over sizes, by |predicted effect|, by |share|, at random."""
    from tasks.interventions.faithfulness_curve import circuit_values, curve, random_scores, values_by_size

    claims, bench = made.claims, made.bench
    values = circuit_values(bench, claims.features, claims.kept, removed, made.start)
    rankings = {
        "predicted_effect": claims.predicted,
        "share": claims.share,
        "random": random_scores(len(claims.features), params.seed, bench.model.device),
    }
    if bool(claims.share.isnan().any()):
        del rankings["share"]
    by_size = values_by_size(bench, claims.features, list(rankings.values()), removed, made.start)
    curves = {
        name: curve(row, values.whole, values.nothing) for name, row in zip(rankings, by_size.tolist(), strict=True)
    }
    return Circuit(values, curves, str(removal_of(params)), int(claims.kept.sum()), len(claims.features))


def _leaves(context: Context, made: GraphBench) -> dict[str, int]:
    """How many kept nodes no ablation is of: errors and tokens."""
    from store import graphs

    kinds = [node.kind for node in graphs.nodes(context.project.db, made.record.id)]
    return {"errors": kinds.count("error"), "tokens": kinds.count("token")}


def _metric_name(decisive: dict[str, Any]) -> str:
    if decisive.get("kind") == "feature":
        return f"pre-activation of {decisive['token']}"
    rival = "the mean logit" if decisive["rival"] is None else f"logit({decisive['rival']!r})"
    return f"logit({decisive['token']!r}) - {rival}, nats"
