"""How fast the app's graph pane answers with 8 000 nodes: from a key to the frame that shows what it did.

Wall time is what a person waits and what other programs on the machine add to; processor time is what the app takes.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from textual.pilot import Pilot

from benchmarks.large_graph import N_LAYERS, N_POSITIONS, large_graph
from store import graphs
from store.graphs import EdgeRecord, NodeRecord
from store.project import ModelRecord, Project
from tasks.graphs.prune import Pruned, prune
from tasks.graphs.raw import RawGraph
from workbench.tui.app import Workbench
from workbench.tui.messages import Went
from workbench.tui.panes.graph.pane import Graph
from workbench.tui.place import Place

N_FEATURES = 7500
SIZE = (160, 48)
TREE_KEYS = ("down", "down", "right", "down", "down", "right", "down", "left", "s", "s", "v", "r", "backspace")
THRESHOLD_KEYS = ("[",) * 8 + ("]",) * 12 + ("[",) * 4
"""From 0.8 down to 0.64, up to 0.88 and back."""
_ROUNDS = 3
_POLL_S = 0.002


def large_project(directory: Path, n_features: int = N_FEATURES, seed: int = 0) -> int:
    """A project in `directory` with one random graph of that size, pruned at 0.8 and 0.98; the graph's id."""
    raw = large_graph(n_features, seed)
    pruned, random = prune(raw, 0.8, 0.98), np.random.default_rng(seed)
    model = ModelRecord("none", "none", "llama", N_LAYERS, 8, 16, 1000, "cpu", "float32")
    with Project.create(directory, model, "0.1.0") as project:
        stored = project.files.write(
            "graphs", "graph.safetensors", lambda path: save_file(_arrays(raw, pruned, random), path)
        )
        with project.transaction():
            return _insert(project, raw, pruned, project.record_file(stored), random)


def _arrays(raw: RawGraph, pruned: Pruned, random: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """What a trace leaves in a graph's file, as far as it is read."""
    n = raw.n_features
    size = np.bincount(raw.target, np.abs(raw.share), raw.n_nodes).astype(np.float32)
    return {
        "active_layer": raw.layer[:n],
        "active_position": raw.position[:n],
        "active_index": random.permutation(16 * n)[:n].astype(np.int32),
        "active_activation": random.exponential(2, n).astype(np.float32),
        "active_share": random.normal(0, 0.1, n).astype(np.float32),
        "active_predicted_effect": random.normal(0, 0.1, n).astype(np.float32),
        "attributed": np.arange(n, dtype=np.int32),
        "row_size": size[:n],
        "leaf_share": random.normal(0, 0.1, raw.first_target - n).astype(np.float32),
        "edge_source": raw.source,
        "edge_target": raw.target,
        "edge_share": raw.share,
        "edge_kept": pruned.edge_kept,
        "node_kept": pruned.node_kept,
    }


def _insert(project: Project, raw: RawGraph, pruned: Pruned, file_id: int, random: np.random.Generator) -> int:
    """The rows of the graph, its nodes and edges."""
    job = project.db.execute(
        "INSERT INTO job (kind, params, params_hash, state, created_at) VALUES ('trace', '{}', '', 'succeeded', '')"
    ).lastrowid
    tokens = [f" token{position}" for position in range(N_POSITIONS)]
    targets = [_target(raw, node) for node in range(raw.first_target, raw.n_nodes)]
    summary = {"tokens": tokens, "node_threshold": 0.8, "edge_threshold": 0.98}
    row = (job, "a large graph", list(range(N_POSITIONS)), "neurons", targets, "ray", file_id, 1e-7, 0.6, 0.8, summary)
    graph = project.db.execute(
        "INSERT INTO graph (job_id, prompt, tokens, dictionary, targets, rule, file_id, closing_error,"
        " replacement_score, completeness_score, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [json.dumps(value) if isinstance(value, list | dict) else value for value in row],
    ).lastrowid
    size = np.bincount(raw.target, np.abs(raw.share), raw.n_nodes)
    nodes = [_node(raw, node, float(size[node]), random) for node in pruned.node_kept.nonzero()[0].tolist()]
    columns = (column[pruned.edges].tolist() for column in (raw.source, raw.target, raw.share))
    edges = [EdgeRecord(source, target, share, None) for source, target, share in zip(*columns, strict=True)]
    graphs.insert_rows(project.db, int(graph or 0), nodes, edges)
    return int(graph or 0)


def _target(raw: RawGraph, node: int) -> dict[str, Any]:
    """What a graph's row says of one logit."""
    rank = node - raw.first_target
    place = {"node": node, "layer": N_LAYERS, "position": N_POSITIONS - 1}
    about = {"kind": "logit", "token": f" answer{rank}", "id": node, "rival": None, "rival_id": None, "rank": rank}
    return {**about, **place, "probability": float(raw.weight[node]), "value": 3.0}


def _node(raw: RawGraph, node: int, size: float, random: np.random.Generator) -> NodeRecord:
    kind = (
        "feature" if node < raw.first_error else "error" if node < raw.first_token
        else "token" if node < raw.first_target else "logit"
    )  # fmt: skip
    effect = float(random.normal(0, 0.1)) if kind == "feature" else None
    feature = -1 if kind == "error" else node
    place = int(raw.layer[node]), int(raw.position[node])
    return NodeRecord(node, kind, *place, feature, 1.0, 0.1, float(random.normal(0, 0.1)), effect, size)


async def open_large(pilot: Pilot[int], graph_id: int) -> Graph:
    """The pane with the graph open and its pruner ready."""
    app = pilot.app
    assert isinstance(app, Workbench)
    while not app.opened:
        await pilot.pause(0.05)
    await pilot.pause(0.3)
    app.post_message(Went(Place("graph", graph=graph_id)))
    while app.pane.id != "graph" or not isinstance(app.pane, Graph) or app.pane.shown is None:
        await pilot.pause(0.05)
    pane = app.pane
    shown = pane.shown
    assert shown is not None
    await asyncio.to_thread(lambda: shown.pruner)
    await pilot.pause(0.5)
    return pane


def measure(n_features: int = N_FEATURES) -> dict[str, float]:
    """Percentiles in ms of wall and processor time: keys in the tree, keys that prune anew; seconds to open."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "project"
        graph_id = large_project(directory, n_features)
        figures: dict[str, float] = {}
        asyncio.run(_drive(directory, lambda pilot: _measure(pilot, graph_id, figures)))
    return figures


async def _drive(directory: Path, steps: Callable[[Pilot[int]], Awaitable[None]]) -> None:
    app = Workbench(directory, starts_worker=False)
    async with app.run_test(size=SIZE) as pilot:
        await steps(pilot)


async def _measure(pilot: Pilot[int], graph_id: int, figures: dict[str, float]) -> None:
    started = time.perf_counter()
    pane = await open_large(pilot, graph_id)
    figures["open, s"] = time.perf_counter() - started
    frames = _Frames(pilot.app)
    tree = [await _until_painted(pilot, frames, pane, key) for _ in range(_ROUNDS) for key in TREE_KEYS]
    prune = [await _until_painted(pilot, frames, pane, key) for _ in range(_ROUNDS) for key in THRESHOLD_KEYS]
    for name, times in (("tree key", tree), ("threshold key", prune)):
        for clock, column in zip(("wall", "processor"), zip(*times, strict=True), strict=True):
            for part in (50, 95):
                figures[f"{name}, {clock} p{part}, ms"] = 1e3 * float(np.percentile(column, part))


class _Frames:
    """When frames were painted."""

    def __init__(self, app: Any) -> None:
        self.last = 0.0
        paint = app._display

        def painted(*args: Any, **kwargs: Any) -> None:
            paint(*args, **kwargs)
            self.last = time.perf_counter()

        app._display = painted


async def _until_painted(pilot: Pilot[int], frames: _Frames, pane: Graph, key: str) -> tuple[float, float]:
    """Seconds from a key to the first frame after what it asked for was there: wall and processor time."""
    names = {"[": "left_square_bracket", "]": "right_square_bracket"}
    shown = pane.shown
    assert shown is not None
    await pilot.pause(0.15)
    before = shown.shape
    started, cpu = time.perf_counter(), time.process_time()
    pilot.app.simulate_key(names.get(key, key))
    if key in names:
        while shown.shape is before or shown.done is not shown.shape:
            await asyncio.sleep(_POLL_S)
    ready = time.perf_counter() if key in names else started
    while frames.last < ready and time.perf_counter() - started < 1:
        await asyncio.sleep(_POLL_S)
    return frames.last - started, time.process_time() - cpu


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:30} {value:8.2f}")
