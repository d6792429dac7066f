"""Prune: a stored graph at other thresholds, as a graph of its own; the old one stays as it is (METHOD §4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from pathlib import Path

    from store.files import StoredFile
    from store.graphs import EdgeRecord, GraphRecord, NodeRecord
    from store.project import Project
    from tasks.context import Context
    from tasks.graphs.prune import Pruned


class Params(_Params):
    """The options of `workbench graph prune`."""

    graph: int = option(..., "The graph's id, as `workbench graph list` prints it.", argument=True)
    node_threshold: float = option(0.8, "Keep the nodes that carry this part of all influence.", ge=0.0, le=1.0)
    edge_threshold: float = option(0.98, "Keep the edges that carry this part of what is left.", ge=0.0, le=1.0)


@dataclass(frozen=True)
class Result:
    """A pruned graph on its way into the store."""

    parent: GraphRecord
    arrays: StoredFile
    nodes: list[NodeRecord]
    edges: list[EdgeRecord]
    supernodes: dict[str, list[int]]
    summary: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `graph`, `node`, `edge`, `supernode` and `pin`."""
        from store import graph_shape, graphs

        parent, file_id = self.parent, project.record_file(self.arrays)
        child = project.db.execute(
            "INSERT INTO graph (job_id, prompt, tokens, dictionary, targets, rule, file_id, closing_error,"
            " replacement_score, completeness_score, summary) SELECT ?, prompt, tokens, dictionary, targets, rule, ?,"
            " closing_error, replacement_score, completeness_score, ? FROM graph WHERE id = ?",
            [job_id, file_id, json.dumps(self.summary), parent.id],
        ).lastrowid
        graphs.insert_rows(project.db, int(child or 0), self.nodes, self.edges)
        for name, members in self.supernodes.items():
            graphs.set_supernode(project.db, int(child or 0), name, members)
        graph_shape.carry_pins(project.db, parent.id, int(child or 0))
        return {"graph": child, **self.summary, "targets": parent.targets}


def run(params: Params, context: Context) -> Result:
    """Prune the graph's raw arrays anew; what the old graph knew of a node or an edge is carried over."""
    from store import graphs
    from tasks.graphs.prune import prune
    from tasks.graphs.raw import read_raw_graph

    project = context.project
    parent = graphs.find(project.db, params.graph)
    path = project.files.verify(graphs.arrays(project, parent.id))
    pruned = prune(read_raw_graph(parent, path), params.node_threshold, params.edge_threshold)
    edges = _edges(pruned, graphs.edges(project.db, parent.id))
    missing = sum(edge.effect is None and not _is_error(pruned, edge.source) for edge in edges)
    if missing:
        context.progress.note(
            f"{missing} of {len(edges)} edges have no effect, because graph {parent.id} did not keep them: "
            "`workbench trace` with these thresholds measures them"
        )
    return Result(
        parent=parent,
        arrays=_write_arrays(project, path, pruned),
        nodes=_nodes(pruned, path, graphs.nodes(project.db, parent.id)),
        edges=edges,
        supernodes=_still_kept(pruned, graphs.supernodes(project.db, parent.id)),
        summary=parent.summary
        | {
            "pruned_from": parent.id,
            "node_threshold": params.node_threshold,
            "edge_threshold": params.edge_threshold,
            "kept_nodes": int(pruned.node_kept.sum()),
            "kept_edges": len(edges),
            "edges_without_effect": missing,
        },
    )


def _is_error(pruned: Pruned, node: int) -> bool:
    """Whether the node is an error: an error is what no dictionary names, so its edges have shares and no effects."""
    return pruned.raw.first_error <= node < pruned.raw.first_token


def _nodes(pruned: Pruned, path: Path, known: list[NodeRecord]) -> list[NodeRecord]:
    """The kept nodes: those of the old graph as they were, the others from the file."""
    from tasks.graphs.node_numbers import read_node_numbers

    numbers = read_node_numbers(path, pruned.raw)
    before = {node.node: node for node in known}
    kept = pruned.node_kept.nonzero()[0].tolist()
    return [before.get(node) or numbers.record(node, float(pruned.influence[node])) for node in kept]


def _edges(pruned: Pruned, known: list[EdgeRecord]) -> list[EdgeRecord]:
    """The kept edges with the effects that the old graph has."""
    from store.graphs import EdgeRecord

    effects = {(edge.source, edge.target): edge.effect for edge in known}
    raw = pruned.raw
    columns = (column[pruned.edges].tolist() for column in (raw.source, raw.target, raw.share))
    triples = zip(*columns, strict=True)
    return [EdgeRecord(source, target, share, effects.get((source, target))) for source, target, share in triples]


def _still_kept(pruned: Pruned, supernodes: dict[str, list[int]]) -> dict[str, list[int]]:
    """The supernodes with the members that are kept; one without any goes."""
    kept = {name: [node for node in members if pruned.node_kept[node]] for name, members in supernodes.items()}
    return {name: members for name, members in kept.items() if members}


def _write_arrays(project: Project, path: Path, pruned: Pruned) -> StoredFile:
    """A file of its own, so that the new graph stands without the old one."""
    from safetensors.numpy import load_file, save_file

    arrays = load_file(path) | {"edge_kept": pruned.edge_kept, "node_kept": pruned.node_kept}
    return project.files.write("graphs", "graph.safetensors", lambda target: save_file(arrays, target))
