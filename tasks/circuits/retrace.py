"""A stored graph's frozen run again, for questions that its file does not answer."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from store.errors import BadInput
from store.graphs import GraphRecord
from tasks.circuits.frozen import freeze
from tasks.circuits.graph_file import stored_target
from tasks.circuits.heads import EdgeSource
from tasks.circuits.linearise import Rule
from tasks.circuits.nodes import Sources, find_sources
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import Target, feature_target
from tasks.context import Context
from tasks.graphs.feature_name import parse_feature
from tasks.model.language_model import LanguageModel

HOW = "name a feature as L12/345@7, an error as L12@7, a token as @7, the explained logit as logit"


def refuse_imported(record: GraphRecord, model: LanguageModel) -> None:
    """`BadInput` for a graph that was imported and belongs to another model."""
    if "model" in record.summary:
        raise BadInput(
            f"graph {record.id} was imported and is of another model than {model.spec}",
            "do this in a project of its own model",
        )


def retraced(context: Context, record: GraphRecord) -> Sweep:
    """The sweep that the graph's rows came from: same prompt, dictionaries, rule and leaves."""
    model = context.model
    refuse_imported(record, model)
    summary = record.summary
    dictionaries = context.dictionary_set(record.dictionary).only(summary["dictionary_layers"])
    run = freeze(model, record.token_ids)
    sources = find_sources(
        model,
        run,
        dictionaries,
        first_position=summary["first_position"],
        unreplaced_as_error=summary.get("unreplaced") == "error",
    )
    return Sweep(model, run, dictionaries, sources, _rule(record), context.check)


def _rule(record: GraphRecord) -> Rule:
    """The graph's rule; a file of another program names none, as its transcoders leave no gated neuron to share."""
    return Rule(record.rule) if record.rule in set(Rule) else Rule.RAY


@dataclass(frozen=True)
class Place:
    """A node by name."""

    kind: str
    """token, feature, error, logit."""
    layer: int
    position: int
    index: int
    """Feature index; which of the graph's targets, for a logit; -1 otherwise."""


def parse_place(name: str, n_positions: int) -> Place:
    """The node that a person names; `BadInput` if it is none or lies outside the prompt."""
    if match := re.fullmatch(r"logit(?::([0-9]{1,4}))?", name):
        return Place("logit", -1, -1, int(match[1] or 0))
    if match := re.fullmatch(r"(?:L([0-9]{1,4}))?@(-?[0-9]{1,9})", name):
        kind = "token" if match[1] is None else "error"
        return Place(kind, int(match[1] or -1), prompt_position(int(match[2]), n_positions), -1)
    feature = parse_feature(name)
    if len(feature.layers) > 1 or feature.feature is None or feature.positions is None or len(feature.positions) > 1:
        raise BadInput(f"{name!r} is not one node", HOW)
    return Place("feature", feature.layers[0], prompt_position(feature.positions[0], n_positions), feature.feature)


def prompt_position(position: int, n_positions: int) -> int:
    """The position counted from 0; `BadInput` outside the prompt."""
    if not -n_positions <= position < n_positions:
        raise BadInput(f"position {position} is outside the prompt", f"its positions are 0 to {n_positions - 1}")
    return position % n_positions


def source_at(sweep: Sweep, place: Place) -> EdgeSource:
    """What a node writes; `BadInput` if nothing is there that could be a source."""
    sources = sweep.sources
    if place.kind == "token":
        return EdgeSource(-1, place.position, sweep.run.embeddings[place.position])
    leaves = sources.layers.get(place.layer)
    if leaves is None or place.kind == "logit":
        raise BadInput("that node is no source: a logit, or of a layer without a dictionary", HOW)
    if place.kind == "error":
        return EdgeSource(place.layer, place.position, leaves.error[place.position])
    target = feature_target(sources.features, place.layer, place.index, place.position)
    columns = leaves.columns[place.position]
    row = (sources.features.index[columns] == place.index).nonzero().flatten()
    write = leaves.writes_at(place.position)[row[0]] * target.activation
    return EdgeSource(place.layer, place.position, write)


def target_at(sweep: Sweep, place: Place, record: GraphRecord) -> Target:
    """What a node is as a target; `BadInput` for tokens and errors, which are made of nothing."""
    if place.kind == "logit":
        if place.index >= len(record.targets):
            raise BadInput(f"the graph explains {len(record.targets)} targets", "count them from logit:0")
        return stored_target(record.targets[place.index])
    if place.kind != "feature":
        raise BadInput("tokens and errors are sources only", "name a feature or logit as the edge's end")
    return feature_target(sweep.sources.features, place.layer, place.index, place.position)


def column_names(sources: Sources, columns: Tensor) -> list[str]:
    """The names of source columns (features, errors, tokens); the one past the last is the constants'."""
    features = sources.features
    names = []
    for column in columns.tolist():
        if column < len(features):
            layer, index, position = (int(each[column]) for each in (features.layer, features.index, features.position))
            names.append(f"L{layer}/{index}@{position}")
        elif column < sources.first_token:
            layer, position = divmod(column - sources.first_error, sources.n_positions)
            names.append(f"L{layer}@{position}")
        else:
            position = column - sources.first_token
            names.append(f"@{position}" if position < sources.n_positions else "constants")
    return names


def largest(values: Tensor, count: int) -> Tensor:
    """Where the largest |values| are, at most `count`, zeros left out."""
    order = values.abs().argsort(descending=True, stable=True)[:count]
    return order[values[order] != 0] if len(order) else torch.empty(0, dtype=torch.long)
