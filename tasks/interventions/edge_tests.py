"""Edges one by one: the source removed, and what becomes of the target (METHOD §5).

`total`: nothing else is touched. `direct`: every other feature is held at its clean value at every position that has
features, what the dictionaries miss passes; so only paths through no other feature are left, as in an edge's effect.
Both are clean - edited, in units of the target: nats of a logit, or a pre-activation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.effect import direct_effects
from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.targets import FeatureTarget, LogitTarget, Target
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.splice import Splice, probed, spliced_logits
from tasks.interventions.edits import Edits
from tasks.interventions.intervene import edit_splices
from tasks.interventions.removal import FeatureValues, clamped
from tasks.interventions.validation import Bench, ablations
from tasks.model.smaller_batches import in_smaller_batches, split


@dataclass(frozen=True)
class EdgeTest:
    """One edge: a feature (a row of all active ones) and what it goes to."""

    source: int
    target: Target


@dataclass(frozen=True)
class EdgeMeasurements:
    """For each edge, in units of its target."""

    clean: Float[Tensor, " edge"]
    """The target's value in the unmodified model."""
    predicted_total: Float[Tensor, " edge"]
    """z · d(target)/dz in the real model, nothing held."""
    total: Float[Tensor, " edge"]
    direct: Float[Tensor, " edge"]


def measure_edges(
    bench: Bench,
    active: ActiveFeatures,
    edges: Sequence[EdgeTest],
    clean: FeatureValues,
    start: int,
    advance: Callable[[float], None] = lambda _: None,
) -> EdgeMeasurements:
    """Measure every edge twice, one run a source and kind; `clean` are all features of the unmodified prompt.

    Advances by one for each source.
    """
    targets = [edge.target for edge in edges]
    sources = sorted({edge.source for edge in edges})
    row_of = {source: row for row, source in enumerate(sources)}
    rows = [row_of[edge.source] for edge in edges]
    baseline = _values(bench, [], 1, targets, [0] * len(edges))
    total, direct = torch.zeros_like(baseline), torch.zeros_like(baseline)

    def edited(here: range) -> tuple[Tensor, Tensor, Tensor]:
        block = active.take(torch.tensor(sources[here.start : here.stop], device=active.layer.device))
        mine = [edge for edge, row in enumerate(rows) if row in here]
        there, at = [targets[edge] for edge in mine], [rows[edge] - here.start for edge in mine]
        live = _values(bench, _ablated(bench, block), len(block), there, at)
        held = _values(bench, _held(bench, block, clean, start), len(block), there, at)
        return torch.tensor(mine, device=baseline.device), live, held

    for here, (where, live, held) in in_smaller_batches(split(range(len(sources)), bench.batch), edited):
        total[where], direct[where] = baseline[where] - live, baseline[where] - held
        advance(len(here))
    return EdgeMeasurements(baseline, total_effects(bench, active, edges), total, direct)


def total_effects(bench: Bench, active: ActiveFeatures, edges: Sequence[EdgeTest]) -> Float[Tensor, " edge"]:
    """The total effect of each edge's source on its target, first order: one backward pass a distinct target."""
    distinct = list(dict.fromkeys(edge.target for edge in edges))
    effects = active.activation.new_zeros(len(edges))
    layers = sorted({int(active.layer[edge.source]) for edge in edges})
    for block, gradients in in_smaller_batches(
        split(distinct, bench.batch), lambda block: _gradients(bench, block, layers)
    ):
        for number, edge in enumerate(edges):
            if edge.target in block:
                source = active.take(torch.tensor([edge.source], device=active.layer.device))
                layer, position = int(source.layer), int(source.position)
                gradient = gradients[layer][block.index(edge.target), position].float()
                write = bench.dictionaries[layer].writes_through(source.index, gradient[None])
                effects[number] = write[0, 0] * source.activation[0]
    return effects


def predicted_direct_effects(
    bench: Bench, active: ActiveFeatures, edges: Sequence[EdgeTest], start: int
) -> Float[Tensor, " edge"]:
    """Direct effects of edges that come without, as `trace` computes them."""
    sources = sorted({edge.source for edge in edges})
    rows = torch.tensor(sources, dtype=torch.long, device=active.layer.device)
    distinct = list(dict.fromkeys(edge.target for edge in edges))
    no_targets = active.take(rows[:0])
    found = direct_effects(
        bench.model, bench.tokens, bench.dictionaries, active.take(rows), no_targets, distinct,
        first_position=start == 0, batch=bench.batch,
    )  # fmt: skip
    return torch.stack([found.of_features[distinct.index(e.target), sources.index(e.source)] for e in edges])


def _values(
    bench: Bench, splices: Sequence[Splice], n_rows: int, targets: Sequence[Target], rows: Sequence[int]
) -> Float[Tensor, " target"]:
    """Each target's value in the row that goes with it, `splices` done."""
    prompts = bench.model.token_tensor(bench.tokens).expand(n_rows, -1)
    with torch.no_grad():
        logits, reads = _run(bench, prompts, splices, targets)
        values = [_value(bench, logits, reads, target, row) for target, row in zip(targets, rows, strict=True)]
    return torch.stack(values) if values else logits.new_empty(0)


def _run(
    bench: Bench, prompts: Tensor, splices: Sequence[Splice], targets: Sequence[Target]
) -> tuple[Tensor, dict[int, Tensor]]:
    """(logits, what the dictionaries of the targets' layers read) of one batch."""
    reads: dict[int, Tensor] = {}
    for layer in sorted({target.layer for target in targets if isinstance(target, FeatureTarget)}):
        splices = probed(splices, bench.dictionaries[layer], partial(reads.__setitem__, layer))
    return spliced_logits(bench.model, prompts, splices), reads


def _value(bench: Bench, logits: Tensor, reads: dict[int, Tensor], target: Target, row: int) -> Float[Tensor, ""]:
    if isinstance(target, LogitTarget):
        return target.value(logits[row])
    dictionary = bench.dictionaries[target.layer]
    index = torch.tensor([target.index], device=logits.device)
    read = reads[target.layer][row, target.position].float()
    return (dictionary.read_vectors(index)[0] * read).sum() + dictionary.read_bias(index)[0]


def _ablated(bench: Bench, sources: ActiveFeatures) -> list[Splice]:
    """Each source at zero in a row of its own, the rest live."""
    return edit_splices(bench.dictionaries, _in_own_rows(sources))


def _in_own_rows(sources: ActiveFeatures) -> Edits:
    edits = ablations(sources)
    rows = torch.arange(len(sources), device=edits.row.device)
    return Edits(rows, edits.layer, edits.position, edits.index, edits.multiply, edits.add)


def _held(bench: Bench, sources: ActiveFeatures, clean: FeatureValues, start: int) -> list[Splice]:
    """Each source at zero in a row of its own, every other feature at its clean value."""
    splices = []
    for layer, dictionary in bench.dictionaries.layers.items():
        value = clean[layer][None]
        rows = (sources.layer == layer).nonzero().squeeze(1)
        if len(rows):
            value = value.repeat(len(sources), 1, 1)
            value[rows, sources.position[rows], sources.index[rows]] = 0.0
        free = torch.zeros(1, len(bench.tokens), dictionary.n_features, dtype=torch.bool, device=value.device)
        free[:, :start] = True
        splices.append(clamped(dictionary, free, value))
    return splices


def _gradients(bench: Bench, targets: Sequence[Target], layers: Sequence[int]) -> dict[int, Tensor]:
    """Per layer: the derivative of each target (a row) by what the layer's dictionary writes; zero above the target."""
    prompts = bench.model.token_tensor(bench.tokens).expand(len(targets), -1)
    writes = {
        layer: torch.zeros(
            *prompts.shape,
            bench.dictionaries[layer].write_bias.shape[0],
            device=prompts.device,
            dtype=bench.model.dtype,
            requires_grad=True,
        )
        for layer in layers
    }
    splices = [_added(bench.dictionaries[layer], write) for layer, write in writes.items()]
    logits, reads = _run(bench, prompts, splices, targets)
    total = torch.stack([_value(bench, logits, reads, target, row) for row, target in enumerate(targets)]).sum()
    found = torch.autograd.grad(total, list(writes.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(writes, found, strict=True))


def _added(dictionary: Dictionary, write: Tensor) -> Splice:
    return Splice(dictionary.layer, dictionary.reads, dictionary.writes, lambda _read, there: there + write)
