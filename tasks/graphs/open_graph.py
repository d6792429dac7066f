"""A stored graph in memory, rows and file together: pruned and read again and again without asking the store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from store import graphs
from store.graphs import (
    EdgeEffectRecord,
    EffectRecord,
    FeatureWords,
    GraphRecord,
    NodeRecord,
    SupernodeEffectRecord,
)
from store.project import Project
from tasks.graphs.feature_name import LAYER, NUMBER
from tasks.graphs.node_numbers import NodeNumbers, stored_node_numbers
from tasks.graphs.raw import Ints, RawGraph, stored_raw_graph
from tasks.graphs.view import NodeView, Verdict, imported_words, node_view

Numbers = NDArray[np.float64]
KIND_CODES = {"feature": 0, "logit": 0, "token": 1, "error": 2}
"""How an edge's other end is listed: one by one, a few of them, or as a sum."""

_NAME = re.compile(rf"(?:L(?P<layer>{LAYER})(?:/(?P<feature>{NUMBER}))?)?@(?P<position>{NUMBER})")


@dataclass(eq=False)
class OpenGraph:
    """One graph. Nothing in it changes but the words for features, of which more are learnt as nodes are shown."""

    record: GraphRecord
    raw: RawGraph
    numbers: NodeNumbers
    arrays: Mapping[str, NDArray[Any]]
    rows: Mapping[int, NodeRecord]
    """The nodes that the store kept."""
    effects: Mapping[tuple[int, int, int], EffectRecord]
    """(layer, position, feature) -> what was measured."""
    edge_tests: Mapping[tuple[int, int], EdgeEffectRecord]
    """(source, target) -> what was measured."""
    supernode_effects: tuple[SupernodeEffectRecord, ...]
    edge_effect: Numbers
    """[edge]: predicted, in units of the target; NaN where the store has none."""
    words: dict[tuple[int, int], FeatureWords]
    _views: dict[int, NodeView] = field(default_factory=dict)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The prompt's tokens as text."""
        return tuple(self.record.summary["tokens"])

    @property
    def roots(self) -> tuple[int, ...]:
        """What the graph explains, the decisive one first."""
        return tuple(range(self.raw.first_target, self.raw.n_nodes))

    @property
    def stored_nodes(self) -> NDArray[np.bool_]:
        """[node]: what the stored graph kept."""
        return self.arrays["node_kept"].astype(np.bool_)

    @cached_property
    def stored_edges(self) -> Ints:
        """The edges that the stored graph kept, by their places."""
        kept: Ints = self.arrays["edge_kept"].astype(np.bool_).nonzero()[0]
        return kept

    @cached_property
    def has_measured(self) -> bool:
        """Whether anything was measured on its features."""
        return bool(self.effects)

    @cached_property
    def input_size(self) -> Numbers:
        """[node]: Σ|share| over everything its value is made of; 1 of what is made of nothing."""
        size = np.ones(self.raw.n_nodes)
        size[: self.raw.n_features] = self.numbers.input_size
        for node, row in self.rows.items():
            size[node] = row.input_size
        size[size == 0] = 1.0
        return size

    @cached_property
    def strength(self) -> Numbers:
        """[node]: |predicted effect| on the decisive target, nats; NaN where it is not known."""
        effect: Numbers = np.full(self.raw.n_nodes, np.nan)
        effect[: self.raw.n_features] = self.numbers.predicted_effect
        for node, row in self.rows.items():
            effect[node] = np.nan if row.predicted_effect is None else row.predicted_effect
        size: Numbers = np.abs(effect)
        return size

    @cached_property
    def kind_code(self) -> NDArray[np.uint8]:
        """[node]: see `KIND_CODES`."""
        code = np.zeros(self.raw.n_nodes, dtype=np.uint8)
        code[self.raw.first_error : self.raw.first_token] = KIND_CODES["error"]
        code[self.raw.first_token : self.raw.first_target] = KIND_CODES["token"]
        return code

    def node(self, node: int) -> NodeView:
        """Any node of the graph, kept by the store or not."""
        if node not in self._views:
            self._views[node] = node_view(self._row(node), self.record, self.effects, self.words)
        return self._views[node]

    def learn(self, words: Mapping[tuple[int, int], FeatureWords]) -> None:
        """Take in what is known of more features."""
        self.words.update(words)
        self._views = {n: view for n, view in self._views.items() if (view.layer, view.feature) not in words}

    def unknown_words(self, nodes: Ints) -> set[tuple[int, int]]:
        """(layer, feature) of the features among `nodes` whose words were never asked for."""
        kept = nodes[nodes < self.raw.n_features]
        places = zip(self.raw.layer[kept].tolist(), self.numbers.index[kept].tolist(), strict=True)
        return set(places) - self._asked

    def asked(self, features: set[tuple[int, int]]) -> None:
        """Note that the words of these features were asked for, whatever came of it."""
        self._asked.update(features)

    @cached_property
    def _asked(self) -> set[tuple[int, int]]:
        return set(self.words)

    def forget_words(self) -> None:
        """The words may be others now: ask for them again."""
        self._asked.clear()

    def edges_at(self, node: int) -> Ints:
        """The places of all edges of a node, pruned or not."""
        found: Ints = ((self.raw.source == node) | (self.raw.target == node)).nonzero()[0]
        return found

    def find(self, name: str) -> int:
        """The node of a name as `NodeView.name` writes it, kept or not; -1 if there is none."""
        raw, match = self.raw, _NAME.fullmatch(name)
        if match is None or int(match["position"]) >= raw.n_positions:
            return -1
        position = int(match["position"])
        if match["layer"] is None:
            return raw.first_token + position
        layer = int(match["layer"])
        if match["feature"] is None:
            return raw.first_error + layer * raw.n_positions + position if layer < raw.n_layers else -1
        same = (raw.layer[: raw.n_features] == layer) & (raw.position[: raw.n_features] == position)
        found = (same & (self.numbers.index == int(match["feature"]))).nonzero()[0]
        return int(found[0]) if len(found) else -1

    def tested_edge(self, source: int, target: int) -> dict[str, Any]:
        """The measured fields of an `EdgeView`; none if the edge was not tested."""
        found = self.edge_tests.get((source, target))
        if found is None:
            return {}
        return {"direct_effect": found.direct, "total_effect": found.total, "verdict": Verdict(found.verdict)}

    def activations(self, layer: int, feature: int) -> list[float]:
        """[position]: the activation of a feature over the prompt, 0 where it is not active."""
        same = (self.arrays["active_layer"] == layer) & (self.arrays["active_index"] == feature)
        values = np.zeros(self.raw.n_positions)
        values[self.arrays["active_position"][same]] = self.arrays["active_activation"][same]
        return [float(value) for value in values]

    def _row(self, node: int) -> NodeRecord:
        raw = self.raw
        if node in self.rows:
            return self.rows[node]
        if node < raw.first_token:
            return self.numbers.record(node, 0.0)
        position = int(raw.position[node])
        if node < raw.first_target:
            token = self.record.token_ids[position]
            return NodeRecord(node, "token", -1, position, token, 1.0, 0.0, np.nan, None, 0.0)
        target = self.record.targets[node - raw.first_target]
        probability = float(target["probability"])
        return NodeRecord(node, "logit", raw.n_layers, position, int(target["id"]), probability, 0.0, np.nan, None, 0.0)


def open_graph(project: Project, graph_id: int) -> OpenGraph:
    """Read a graph's rows and its file. `Missing` if there is none of that id, `Damaged` if the file is not whole."""
    record = graphs.find(project.db, graph_id)
    arrays = load_file(project.files.verify(graphs.arrays(project, graph_id)))
    raw = stored_raw_graph(record, arrays)
    rows = {row.node: row for row in graphs.nodes(project.db, graph_id)}
    features = {(row.layer, row.feature) for row in rows.values() if row.kind == "feature"}
    effects = graphs.effects(project.db, graph_id)
    return OpenGraph(
        record=record,
        raw=raw,
        numbers=stored_node_numbers(arrays, raw),
        arrays=arrays,
        rows=rows,
        effects={(effect.layer, effect.position, effect.feature): effect for effect in effects},
        edge_tests={(test.source, test.target): test for test in graphs.edge_effects(project.db, graph_id)},
        supernode_effects=tuple(graphs.supernode_effects(project.db, graph_id)),
        edge_effect=_edge_effects(project, graph_id, raw, arrays["edge_kept"].astype(bool).nonzero()[0]),
        words=imported_words(record) | graphs.feature_words(project.db, record.dictionary, features),
    )


def _edge_effects(project: Project, graph_id: int, raw: RawGraph, kept: Ints) -> Numbers:
    """[edge]: the effects of the kept edges from their rows, NaN elsewhere."""
    effect = np.full(len(raw.source), np.nan)
    sql = "SELECT source, target, effect FROM edge WHERE graph_id = ? AND effect IS NOT NULL"
    rows = np.array(project.db.execute(sql, [graph_id]).fetchall(), dtype=np.float64).reshape(-1, 3)
    if not len(rows) or not len(kept):
        return effect
    key = raw.target[kept].astype(np.int64) * raw.n_nodes + raw.source[kept]
    order = key.argsort(kind="stable")
    wanted = rows[:, 1].astype(np.int64) * raw.n_nodes + rows[:, 0].astype(np.int64)
    place = np.minimum(np.searchsorted(key[order], wanted), len(order) - 1)
    found = key[order][place] == wanted
    effect[kept[order[place[found]]]] = rows[found, 2]
    return effect
