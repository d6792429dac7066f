"""A graph file of another program, or of ours, as the rows and arrays that the store keeps of a trace."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import BadInput
from store.graphs import EdgeRecord, EffectRecord, NodeRecord
from tasks.graphs.formats.neuronpedia import cantor_pair
from tasks.graphs.formats.neuronpedia_file import LARGEST_INDEX, LARGEST_LAYER, FileNode, FileTarget, GraphFile
from tasks.graphs.influence import Scores, layered_edges, scores
from tasks.graphs.raw import RawGraph, raw_graph
from tasks.graphs.view import Verdict

LARGEST_GRID = 1 << 24
"""Layers times positions: each is a place for an error."""
_MEND = "the file was made for another kind of graph; `workbench trace` makes one here"
_TOKEN_IDS = (re.compile(r"E_(\d+)_\d+"), re.compile(r"token_E_\d+_(\d+)"))
_LOGIT_WORDS = re.compile(r'[Oo]utput:? ["\'](.*)["\'] ?\(p=([0-9.]+)\)', re.DOTALL)


@dataclass(frozen=True)
class FileGraph:
    """The parts of a file's graph, each node at its place: [features | errors | tokens | targets]."""

    file: GraphFile
    n_layers: int
    features: tuple[FileNode, ...]
    """By layer, position, index."""
    index: tuple[int, ...]
    """[feature]: its index in its dictionary."""
    targets: tuple[FileNode, ...]
    """The decisive one first."""
    number: Mapping[str, int]
    """`node_id` -> node."""

    @property
    def n_positions(self) -> int:
        """Tokens of the prompt."""
        return len(self.file.metadata.prompt_tokens)

    def probabilities(self) -> list[float]:
        """[target]: as the file says; equal parts if it says nothing."""
        found = [_probability(node) for node in self.targets]
        return found if any(found) else [1 / len(found)] * len(found)


def file_graph(file: GraphFile, n_layers: int | None = None) -> FileGraph:
    """Number the nodes of a file; `n_layers` if it is known better than from the file."""
    highest = max((int(node.layer) for node in file.nodes if _inside(node)), default=-1)
    n_layers = n_layers or _n_layers(file, highest)
    n_positions = len(file.metadata.prompt_tokens)
    if highest >= n_layers or n_layers * n_positions > LARGEST_GRID:
        raise BadInput(f"{n_layers} layers and {n_positions} tokens do not hold the file's nodes", _MEND)
    ranked = sorted(((_place(node, file), node) for node in _features(file)), key=lambda pair: pair[0])
    places = [place for place, _ in ranked]
    targets = sorted((node for node in file.nodes if node.explained), key=lambda node: not node.is_target_logit)
    first_error = len(ranked)
    first_token = first_error + n_layers * n_positions
    number = {node.node_id: row for row, (_, node) in enumerate(ranked)}
    for node in file.nodes:
        if node.kind == "error":
            number[node.node_id] = first_error + int(node.layer) * n_positions + node.ctx_idx
        elif node.kind == "token":
            number[node.node_id] = first_token + node.ctx_idx
    number |= {node.node_id: first_token + n_positions + row for row, node in enumerate(targets)}
    if len(set(places)) < len(places) or len(set(number.values())) < len(number):
        raise BadInput("two nodes of the file are of one kind, layer, position and feature", _MEND)
    features = tuple(node for _, node in ranked)
    return FileGraph(file, n_layers, features, tuple(place[2] for place in places), tuple(targets), number)


def raw_of(graph: FileGraph) -> RawGraph:
    """The links as a raw graph; `BadInput` for one that does not lead upwards, into a feature or a target."""
    nodes = {node.node_id: node for node in graph.file.nodes}
    links = graph.file.links
    for link in links:
        if nodes[link.target].kind in ("token", "error"):
            raise BadInput(f"a link ends at {link.target!r}, which is a source", _MEND)
    raw = raw_graph(
        layer=np.array([int(node.layer) for node in graph.features], dtype=np.int32),
        position=np.array([node.ctx_idx for node in graph.features], dtype=np.int32),
        n_layers=graph.n_layers,
        n_positions=graph.n_positions,
        targets=[(_target_layer(node, graph.n_layers), node.ctx_idx) for node in graph.targets],
        probabilities=graph.probabilities(),
        edges=_edges(graph),
    )
    falling = (raw.layer[raw.source] >= raw.layer[raw.target]).nonzero()[0]
    if len(falling):
        names = {number: name for name, number in graph.number.items()}
        source, target = names[int(raw.source[falling[0]])], names[int(raw.target[falling[0]])]
        raise BadInput(f"the link {source!r} -> {target!r} does not lead to a higher layer", _MEND)
    return raw


def _edges(graph: FileGraph) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    number, links = graph.number, graph.file.links
    source = np.array([number[link.source] for link in links], dtype=np.int32)
    target = np.array([number[link.target] for link in links], dtype=np.int32)
    share = np.array([link.weight for link in links], dtype=np.float32)
    order = np.lexsort((source, target))
    return source[order], target[order], share[order]


@dataclass(frozen=True)
class Numbers:
    """What the file says of its nodes, and what follows from its links where it says nothing: influence, input size."""

    raw: RawGraph
    activation: NDArray[np.float64]
    """[feature]: NaN where it is not known."""
    influence: NDArray[np.float64]
    share: NDArray[np.float64]
    input_size: NDArray[np.float64]
    scores: Scores


def numbers_of(graph: FileGraph) -> Numbers:
    """[node] each: our own numbers from our files; else influence and input size from the links, and no share."""
    raw = raw_of(graph)
    activation = _column(graph.features, "activation")
    edges = layered_edges(raw)
    size = np.bincount(raw.target, np.abs(raw.share), raw.n_nodes).astype(np.float64)
    influence = edges.influence(edges.fractions(), raw.weight).astype(np.float64)
    share = np.full(raw.n_nodes, np.nan)
    for node in graph.file.nodes:
        place = graph.number[node.node_id]
        for column, known in ((influence, node.node_influence), (share, node.share), (size, node.input_size)):
            if known is not None:
                column[place] = known
    found, metadata = scores(raw), graph.file.metadata
    if metadata.replacement_score is not None and metadata.completeness_score is not None:
        found = Scores(metadata.replacement_score, metadata.completeness_score)
    return Numbers(raw, activation, influence, share, size, found)


def arrays_of(graph: FileGraph, numbers: Numbers) -> dict[str, NDArray[Any]]:
    """The graph's file, as `tasks.circuits.graph_file.write_arrays` names things; what is not known is NaN."""
    raw, features = numbers.raw, graph.features
    kept = np.zeros(raw.n_nodes, dtype=np.bool_)
    kept[list(graph.number.values())] = True
    cumulative = np.full(raw.n_nodes, np.nan)
    for node in graph.file.nodes:
        if node.influence is not None:
            cumulative[graph.number[node.node_id]] = node.influence
    rows = np.r_[0 : raw.n_features, raw.first_target : raw.n_nodes]
    unknown = np.full(len(rows), np.nan, dtype=np.float32)
    arrays: dict[str, NDArray[Any]] = {
        "active_layer": raw.layer[: raw.n_features],
        "active_position": raw.position[: raw.n_features],
        "active_index": np.array(graph.index, dtype=np.int32),
        "active_activation": numbers.activation.astype(np.float32),
        "active_share": numbers.share[: raw.n_features].astype(np.float32),
        "leaf_share": numbers.share[raw.first_error : raw.first_target].astype(np.float32),
        "active_predicted_effect": _column(features, "predicted_effect").astype(np.float32),
        "active_margin": _column(features, "margin").astype(np.float32),
        "attributed": np.arange(raw.n_features, dtype=np.int32),
        "edge_source": raw.source,
        "edge_target": raw.target,
        "edge_share": raw.share,
        "edge_kept": np.ones(len(raw.source), dtype=np.bool_),
        "node_kept": kept,
        "node_influence": numbers.influence.astype(np.float32),
        "row_size": numbers.input_size[rows].astype(np.float32),
    }
    if np.isfinite(cumulative[kept]).all():
        arrays["node_cumulative_influence"] = cumulative
    names = ("row_bias", "row_unattributed", "row_value", "row_closing_error")
    return arrays | dict.fromkeys(names, unknown)


def node_records(graph: FileGraph, numbers: Numbers) -> list[NodeRecord]:
    """Rows of table `node`, by number: every node of the file is a kept one."""
    records: list[NodeRecord] = []
    probability = dict(zip((node.node_id for node in graph.targets), graph.probabilities(), strict=True))
    ids, raw = token_ids(graph), numbers.raw
    for node in sorted(graph.file.nodes, key=lambda node: graph.number[node.node_id]):
        place = graph.number[node.node_id]
        feature, activation = _feature_and_activation(node, graph.file, ids, probability)
        numbers_here = float(numbers.influence[place]), float(numbers.share[place])
        size = float(numbers.input_size[place])
        row = place, node.kind, int(raw.layer[place]), node.ctx_idx, feature, activation
        records.append(NodeRecord(*row, *numbers_here, node.predicted_effect, size))
    return records


def _feature_and_activation(
    node: FileNode, file: GraphFile, ids: Sequence[int], probability: Mapping[str, float]
) -> tuple[int, float]:
    """(feature index or token id, activation or probability) as a trace's rows have them."""
    if node.kind == "error":
        return -1, 0.0
    if node.kind == "token":
        return ids[node.ctx_idx], 0.0
    if node.kind == "logit":
        return node.feature or 0, probability[node.node_id]
    return _index(node, file), math.nan if node.activation is None else node.activation


def edge_records(graph: FileGraph, raw: RawGraph) -> list[EdgeRecord]:
    """Rows of table `edge`: every link of the file, its weight as share."""
    number = graph.number
    effects = {(number[link.source], number[link.target]): link.effect for link in graph.file.links}
    columns = (raw.source.tolist(), raw.target.tolist(), raw.share.tolist())
    return [EdgeRecord(s, t, share, effects[s, t]) for s, t, share in zip(*columns, strict=True)]


def effect_records(graph: FileGraph) -> list[EffectRecord]:
    """What a validation measured, where our file says so."""
    verdicts = {verdict.value for verdict in Verdict}
    return [
        EffectRecord("ablation", int(node.layer), node.ctx_idx, index, node.predicted_effect, node.measured_effect,
                     node.verdict)
        for node, index in zip(graph.features, graph.index, strict=True)
        if node.predicted_effect is not None and node.measured_effect is not None and node.verdict in verdicts
    ]  # fmt: skip


def target_documents(graph: FileGraph) -> list[dict[str, Any]]:
    """The targets as a trace writes them; without a value where the file has none."""
    known = graph.file.metadata.targets
    if known is None or [target.id for target in known] != [_target_id(node, graph.file) for node in graph.targets]:
        known = [
            _target(node, probability) for node, probability in zip(graph.targets, graph.probabilities(), strict=True)
        ]
    documents = [target.model_dump() for target in known]
    for target, node in zip(documents, graph.targets, strict=True):
        target["node"] = graph.number[node.node_id]
        target["layer"] = _target_layer(node, graph.n_layers)
    return documents


def token_ids(graph: FileGraph) -> list[int]:
    """The prompt's token ids, from the file or from the names of its token nodes; -1 where it does not tell."""
    known = graph.file.metadata.token_ids
    if known is not None and len(known) == graph.n_positions:
        return list(known)
    found = [-1] * graph.n_positions
    for node in graph.file.nodes:
        matches = [match for pattern in _TOKEN_IDS if (match := pattern.fullmatch(node.node_id))]
        if node.kind == "token" and matches:
            found[node.ctx_idx] = min(int(matches[0][1]), LARGEST_INDEX)
    return found


def words_of(graph: FileGraph) -> dict[str, dict[str, Any]]:
    """`layer/feature` -> what the file says of it: label, promoted tokens, tokens that it fires on."""
    words: dict[str, dict[str, Any]] = {}
    for node, index in zip(graph.features, graph.index, strict=True):
        label = node.clerp if node.label is None else node.label
        if label or node.promoted or node.fires_on:
            said = {"label": label, "promoted": node.promoted, "fires_on": node.fires_on}
            words[f"{int(node.layer)}/{index}"] = said
    return words


def _features(file: GraphFile) -> list[FileNode]:
    return [node for node in file.nodes if node.kind == "feature" and not node.explained]


def _inside(node: FileNode) -> bool:
    return node.kind in ("feature", "error")


def _n_layers(file: GraphFile, highest: int) -> int:
    """As the file says, or from the layer of its logits: circuit-tracer puts them at `n_layers` + 1."""
    if file.metadata.model is not None:
        return file.metadata.model.n_layers
    said = [int(node.layer) for node in file.nodes if node.kind == "logit" and re.fullmatch(r"\d{1,4}", node.layer)]
    return min(max(max(said, default=0) - 1, highest + 1, 1), LARGEST_LAYER + 1)


def _place(node: FileNode, file: GraphFile) -> tuple[int, int, int]:
    return int(node.layer), node.ctx_idx, _index(node, file)


def _index(node: FileNode, file: GraphFile) -> int:
    """The index of a feature: from its Cantor number, from circuit-tracer's name `layer_feature_position`, or as is."""
    layer, feature = int(node.layer), node.feature
    named = re.fullmatch(rf"{layer}_(\d+)_{node.ctx_idx}", node.node_id)
    if feature is not None and feature >= 0 and file.metadata.schema_version and cantor_pair(feature)[0] == layer:
        feature = cantor_pair(feature)[1]
    elif named:
        feature = int(named[1])
    if feature is None or not 0 <= feature <= LARGEST_INDEX:
        raise BadInput(f"node {node.node_id!r} of the file names no feature", _MEND)
    return feature


def _target_layer(node: FileNode, n_layers: int) -> int:
    return n_layers if node.kind == "logit" else int(node.layer)


def _target_id(node: FileNode, file: GraphFile) -> int:
    return (node.feature or 0) if node.kind == "logit" else _index(node, file)


def _target(node: FileNode, probability: float) -> FileTarget:
    match = _LOGIT_WORDS.fullmatch(node.clerp)
    return FileTarget(
        token=match[1] if match else node.clerp, id=node.feature or 0, position=node.ctx_idx, probability=probability
    )


def _probability(node: FileNode) -> float:
    if not node.token_prob and (match := _LOGIT_WORDS.fullmatch(node.clerp)):
        return min(float(match[2]), 1.0)
    return min(max(node.token_prob or 0.0, 0.0), 1.0)


def _column(nodes: Sequence[FileNode], name: str) -> NDArray[np.float64]:
    """[node]: one number of each, NaN where the file has none."""
    values = (getattr(node, name) for node in nodes)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
