"""What a validation measures with: a graph's model, prompt, dictionaries and claims, checked to belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from store.graphs import GraphRecord
    from tasks.circuits.frozen import FrozenRun
    from tasks.circuits.nodes import ActiveFeatures
    from tasks.context import Context
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.interventions.removal import FeatureValues
    from tasks.interventions.validation import Bench
    from tasks.validate import Params

_SAME = 0.05
"""Relative difference up to which an activation is the stored one: bfloat16 on another machine stays below it."""


@dataclass(frozen=True)
class Claims:
    """What a graph says of every active feature of its prompt."""

    features: ActiveFeatures
    share: Tensor
    """[active]"""
    predicted: Tensor
    """[active]"""
    kept: Tensor
    """[active], a mask."""


@dataclass(frozen=True)
class GraphBench:
    """A stored graph, ready to be measured."""

    record: GraphRecord
    bench: Bench
    clean_run: FrozenRun
    claims: Claims

    @property
    def start(self) -> int:
        """The first position that has features."""
        return 0 if self.record.summary["first_position"] else 1

    @property
    def form(self) -> dict[str, Any]:
        """How its prompt was put into tokens."""
        names = ("chat", "system", "prefill", "special_start")
        return {name: self.record.summary[name] for name in names if name in self.record.summary}

    @cached_property
    def clean(self) -> FeatureValues:
        """Every feature of the unmodified prompt."""
        from tasks.interventions.request import activations

        return activations(self.bench.dictionaries, self.clean_run)

    @property
    def probability(self) -> float | None:
        """Of the decisive token in the unmodified model; None where a feature is explained."""
        from tasks.circuits.targets import LogitTarget

        target = self.bench.target
        if not isinstance(target, LogitTarget):
            return None
        logits = self.bench.model.capped(self.clean_run.logits_at([target.position])[0])
        return float(logits.softmax(-1)[target.token])


def graph_bench(context: Context, graph: int, batch: int, loaded: DictionarySet | None = None) -> GraphBench:
    """The bench of a stored graph; `BadInput` where model or dictionary are not those that it was traced with.

    `loaded` is the graph's set, where a bench before has it: a set of a large model is there once.
    """
    from store import graphs
    from tasks.circuits.frozen import freeze
    from tasks.circuits.graph_file import stored_target
    from tasks.circuits.retrace import refuse_imported
    from tasks.interventions.validation import Bench

    record = graphs.find(context.project.db, graph)
    refuse_imported(record, context.model)
    dictionaries = loaded or context.dictionary_set(record.dictionary)
    bench = Bench(
        context.model,
        tuple(record.token_ids),
        dictionaries.only(record.summary["dictionary_layers"]),
        stored_target(record.targets[0]),
        batch,
    )
    made = GraphBench(record, bench, freeze(context.model, record.token_ids), _claims(context, record, bench))
    _refuse_other_dictionary(context, made)
    return made


def _claims(context: Context, record: GraphRecord, bench: Bench) -> Claims:
    """The claims of a graph. One of another program predicts no effects: they are computed, as a trace does."""
    import torch

    from store import graphs
    from tasks.circuits.effect import predicted_effects
    from tasks.circuits.graph_file import active_features
    from tasks.interventions.validation import rows_at

    path: Path = context.project.files.verify(graphs.arrays(context.project, record.id))
    features, share, predicted = active_features(path, context.model.device)
    if predicted.isnan().any():
        predicted = predicted_effects(bench.model, bench.tokens, bench.dictionaries, features, bench.target)
    nodes = graphs.nodes(context.project.db, record.id)
    places = [(node.layer, node.position, node.feature) for node in nodes if node.kind == "feature"]
    kept = torch.tensor(places, dtype=torch.long, device=features.layer.device).view(-1, 3)
    return Claims(features, share, predicted, rows_at(features, kept))


def _refuse_other_dictionary(context: Context, made: GraphBench) -> None:
    """`BadInput` if most stored activations are not what the dictionary of that name gives on the prompt now."""
    features = made.claims.features
    known = features.activation.isfinite()
    if not known.any():
        return
    stored, now = features.activation[known], values_at(made.clean, features)[known]
    same = (stored - now).abs() <= _SAME * stored.abs().maximum(now.abs())
    if same.float().mean() >= 1 / 2:
        return
    record = made.record
    hashes = _hashes(context, record)
    raise BadInput(
        f"graph {record.id} was not made with the dictionary {record.dictionary!r} that is here now{hashes}: "
        f"{int((~same).sum())} of {len(same)} activations differ",
        "trace the prompt again, or restore the dictionary",
    )


def _hashes(context: Context, record: GraphRecord) -> str:
    """The hashes of the files that are there under the dictionary's name, if it is stored."""
    sql = "SELECT layer, hash FROM dictionary JOIN file ON file.id = file_id WHERE name = ? ORDER BY layer"
    rows = context.project.db.execute(sql, [record.dictionary]).fetchall()
    return f" ({', '.join(f'L{layer} {digest[:12]}' for layer, digest in rows)})" if rows else ""


def values_at(values: FeatureValues, features: ActiveFeatures) -> Tensor:
    """The entries of `values` at the features' places."""
    found = features.activation.new_zeros(len(features))
    for layer in features.layer.unique().tolist():
        rows = (features.layer == layer).nonzero().squeeze(1)
        found[rows] = values[layer][features.position[rows], features.index[rows]].to(found.dtype)
    return found


def removed_values(
    params: Params, context: Context, bench: Bench, corrupt: Sequence[int] | None, others: Sequence[Sequence[int]]
) -> FeatureValues:
    """What removed features become, by `removal_of`; `others` are prompts that a mean may be of."""
    from tasks.interventions.removal import Removal, feature_values, mean_values, zero_values

    removal = removal_of(params)
    if removal is Removal.CORRUPT and corrupt is not None:
        return feature_values(bench.model, bench.dictionaries, corrupt)
    if removal is Removal.MEAN:
        alike = [tokens for tokens in others if len(tokens) == len(bench.tokens) and tuple(tokens) != bench.tokens]
        if len(alike) < 2:
            raise BadInput(
                f"a mean by position needs two other prompts of {len(bench.tokens)} tokens, and there are {len(alike)}",
                "name a --behaviour with prompts of that length, or take --removal zero or corrupt",
            )
        return mean_values(bench.model, bench.dictionaries, alike)
    return zero_values(bench.dictionaries, len(bench.tokens), bench.model.device)


def removal_of(params: Params) -> Any:
    """The `Removal` that the options ask for."""
    from tasks.interventions.removal import Removal

    if params.removal is not None:
        return Removal(params.removal)
    return Removal.ZERO if params.from_ is None else Removal.CORRUPT


def behaviour_prompts(params: Params, context: Context, form: dict[str, Any]) -> list[tuple[int, ...]]:
    """The tokens of every prompt of `--behaviour`, clean and corrupt, each once; none without it."""
    from tasks.behaviours import OWN_DIRECTORY, choose_behaviours

    if not params.behaviour:
        return []
    directory = Path(params.directory) if params.directory else OWN_DIRECTORY
    (behaviour,) = choose_behaviours([params.behaviour], directory)
    texts = [text for pair in behaviour.pairs for text in (pair.clean, pair.corrupt) if text is not None]
    return list(dict.fromkeys(tuple(context.model.tokenize(text, **form)) for text in texts))
