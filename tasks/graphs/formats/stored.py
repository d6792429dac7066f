"""A stored graph with everything that an export may say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from store import graph_shape, graphs
from store.graphs import EdgeRecord, GraphRecord, NodeRecord
from store.project import ModelRecord, Project
from tasks.graphs.view import GraphView, NodeView, load_graph_view

NEURONS = "neurons"
TRANSCODER_PREFIX = "transcoder:"
FEATURE_TYPES = {"neurons": "neuron", "sae": "sparse autoencoder", "transcoder": "cross layer transcoder"}
"""Kind of dictionary -> `feature_type`; circuit-tracer has the last word for per-layer transcoders too."""


@dataclass(frozen=True)
class StoredGraph:
    """One graph: its rows, its view, and the numbers of the kept nodes that only its file has."""

    record: GraphRecord
    nodes: tuple[NodeRecord, ...]
    edges: tuple[EdgeRecord, ...]
    view: GraphView
    supernodes: Mapping[str, list[int]]
    pins: Sequence[int]
    """The nodes that a person pinned, or that an imported file did."""
    model: ModelRecord
    feature_type: str
    settings: Mapping[str, Any]
    """The options of the job that made it."""
    arrays: Path

    @cached_property
    def _file(self) -> dict[str, NDArray[np.generic]]:
        return load_file(self.arrays)

    @cached_property
    def cumulative_influence(self) -> NDArray[np.floating[Any]]:
        """[node]: the part of all influence that nodes at least as influential have; small is important."""
        if "node_cumulative_influence" in self._file:
            return self._file["node_cumulative_influence"].astype(np.float64)
        influence = self._file["node_influence"].astype(np.float64)
        order = (-influence).argsort(kind="stable")
        cumulative = np.empty_like(influence)
        cumulative[order] = influence[order].cumsum() / max(influence.sum(), np.finfo(np.float64).tiny)
        return cumulative

    @cached_property
    def margins(self) -> Mapping[int, float]:
        """Feature node -> how far it is above its threshold, in units of its activation; infinite for neurons."""
        attributed = self._file["attributed"]
        margin = self._file["active_margin"][attributed] if "active_margin" in self._file else ()
        return dict(enumerate(float(value) for value in margin))

    @cached_property
    def supernode_of(self) -> Mapping[int, str]:
        """Node -> the name of the supernode that it is in."""
        return {node: name for name, members in self.supernodes.items() for node in members}

    def shown(self, node: NodeRecord) -> NodeView:
        """The node with its words."""
        return self.view.nodes[node.node]

    def is_target(self, node: NodeRecord) -> bool:
        """Whether the graph explains it."""
        return node.node in self.view.roots


def load_stored_graph(project: Project, graph_id: int) -> StoredGraph:
    """A graph of the project, its file checked; `Missing` if there is none of that id."""
    record = graphs.find(project.db, graph_id)
    return StoredGraph(
        record=record,
        nodes=tuple(graphs.nodes(project.db, graph_id)),
        edges=tuple(graphs.edges(project.db, graph_id)),
        view=load_graph_view(project, graph_id),
        supernodes=graphs.supernodes(project.db, graph_id),
        pins=graph_shape.pins(project.db, graph_id),
        model=project.model,
        feature_type=_feature_type(project, record),
        settings=_settings(project, record),
        arrays=project.files.verify(graphs.arrays(project, graph_id)),
    )


def _feature_type(project: Project, record: GraphRecord) -> str:
    """What the nodes of the graph's dictionary are called in the exchange format."""
    if "feature_type" in record.summary:
        return str(record.summary["feature_type"])
    if record.dictionary == NEURONS:
        return FEATURE_TYPES["neurons"]
    row = project.db.execute("SELECT kind FROM dictionary WHERE name = ? LIMIT 1", [record.dictionary]).fetchone()
    kind = row[0] if row else "transcoder" if record.dictionary.startswith(TRANSCODER_PREFIX) else "sae"
    return FEATURE_TYPES[kind]


def _settings(project: Project, record: GraphRecord) -> Mapping[str, Any]:
    if "generation_settings" in record.summary:
        return dict(record.summary["generation_settings"])
    sql = "SELECT params FROM job JOIN graph ON job.id = graph.job_id WHERE graph.id = ?"
    params: dict[str, Any] = json.loads(project.db.execute(sql, [record.id]).fetchone()[0])
    return {name: value for name, value in params.items() if name != "prompt"}


def inert(text: str) -> str:
    """Text of a model or a person for a file that other programs print: what is not printable is escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def known_numbers(**numbers: float | None) -> dict[str, float]:
    """Those of the numbers that are known: neither None nor NaN."""
    return {name: value for name, value in numbers.items() if value is not None and not np.isnan(value)}
