"""Reading attribution graphs: their rows, what was measured on them, and what is known of their features."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from store.errors import Missing
from store.files import StoredFile

if TYPE_CHECKING:
    from sqlite_utils import Database

    from store.project import Project

_GRAPHS = """
    SELECT graph.id, prompt, tokens AS token_ids, dictionary,
        targets, rule, closing_error, replacement_score, completeness_score, summary,
        coalesce(json_extract(summary, '$.n_layers'),
            (SELECT n_layers FROM model JOIN project ON model.id = project.model_id)) AS n_layers,
        (SELECT count(*) FROM node WHERE graph_id = graph.id) AS n_nodes,
        (SELECT count(*) FROM edge WHERE graph_id = graph.id) AS n_edges,
        job.finished_at AS created_at
    FROM graph JOIN job ON job.id = graph.job_id"""


@dataclass(frozen=True)
class GraphRecord:
    """One row of table `graph` with its JSON read, and how many nodes and edges were kept.

    A closing error that is not known is NaN. `n_layers` is the project's model's, unless an imported graph has its own.
    """

    id: int
    prompt: str
    token_ids: list[int]
    dictionary: str
    targets: list[Any]
    rule: str
    closing_error: float
    replacement_score: float
    completeness_score: float
    summary: dict[str, Any]
    n_layers: int
    n_nodes: int
    n_edges: int
    created_at: str | None


@dataclass(frozen=True)
class NodeRecord:
    """One kept node: a row of table `node`. An activation or a share that is not known is NaN."""

    node: int
    kind: str
    layer: int
    position: int
    feature: int
    activation: float
    influence: float
    share: float
    predicted_effect: float | None
    input_size: float


@dataclass(frozen=True)
class EdgeRecord:
    """One kept edge: a row of table `edge`. `share` is raw and signed, in units of the target's value."""

    source: int
    target: int
    share: float
    effect: float | None


@dataclass(frozen=True)
class EffectRecord:
    """What a validation measured for one feature: a row of table `effect`, in nats of the metric."""

    kind: str
    layer: int
    position: int
    feature: int
    predicted: float
    measured: float
    verdict: str


@dataclass(frozen=True)
class EdgeEffectRecord:
    """What a validation measured for one edge: a row of table `edge_effect`, in units of the target."""

    kind: str
    source: int
    target: int
    predicted_direct: float
    direct: float
    predicted_total: float
    total: float
    verdict: str


@dataclass(frozen=True)
class SupernodeEffectRecord:
    """What a validation measured for a supernode of these nodes: a row of table `supernode_effect`, in nats."""

    name: str
    nodes: list[int]
    predicted: float
    measured: float
    verdict: str


@dataclass(frozen=True)
class FeatureWords:
    """What a person reads of a feature: its label, the tokens it promotes, and those of its strongest examples."""

    label: str
    promoted: list[tuple[str, float]]
    fires_on: list[str]


def listing(db: Database) -> list[GraphRecord]:
    """Every graph, newest first."""
    return [_graph(row) for row in db.query(f"{_GRAPHS} ORDER BY graph.id DESC")]


def find(db: Database, graph_id: int) -> GraphRecord:
    """One graph; `Missing` if there is none of that id."""
    for row in db.query(f"{_GRAPHS} WHERE graph.id = ?", [graph_id]):
        return _graph(row)
    raise Missing(f"no graph {graph_id} in this project", "`workbench graph list` shows the graphs there are")


def arrays(project: Project, graph_id: int) -> StoredFile:
    """The file with a graph's raw arrays."""
    row = project.db.execute("SELECT file_id FROM graph WHERE id = ?", [graph_id]).fetchone()
    return project.file(int(row[0]))


def nodes(db: Database, graph_id: int) -> list[NodeRecord]:
    """The kept nodes of a graph, in the order of its file."""
    columns = ", ".join(NodeRecord.__dataclass_fields__)
    rows = db.execute(f"SELECT {columns} FROM node WHERE graph_id = ? ORDER BY node", [graph_id]).fetchall()
    return [_node(row) for row in rows]


def edges(db: Database, graph_id: int) -> list[EdgeRecord]:
    """The kept edges of a graph, by target."""
    sql = "SELECT source, target, share, effect FROM edge WHERE graph_id = ? ORDER BY target, source"
    return [EdgeRecord(*row) for row in db.execute(sql, [graph_id]).fetchall()]


def insert_rows(db: Database, graph_id: int, nodes: Iterable[NodeRecord], edges: Iterable[EdgeRecord]) -> None:
    """The rows of tables `node` and `edge`, in the caller's transaction."""
    places = ", ".join("?" * (1 + len(NodeRecord.__dataclass_fields__)))
    db.conn.executemany(f"INSERT INTO node VALUES ({places})", ((graph_id, *astuple(node)) for node in nodes))
    db.conn.executemany("INSERT INTO edge VALUES (?, ?, ?, ?, ?)", ((graph_id, *astuple(edge)) for edge in edges))


def insert_edge_effects(db: Database, graph_id: int, job_id: int, effects: Iterable[EdgeEffectRecord]) -> None:
    """Rows of table `edge_effect`, in the caller's transaction."""
    columns = ", ".join(EdgeEffectRecord.__dataclass_fields__)
    marks = ", ".join("?" * (2 + len(EdgeEffectRecord.__dataclass_fields__)))
    rows = ((job_id, graph_id, *astuple(effect)) for effect in effects)
    db.conn.executemany(f"INSERT INTO edge_effect (job_id, graph_id, {columns}) VALUES ({marks})", rows)


def insert_supernode_effects(
    db: Database, graph_id: int, job_id: int, effects: Iterable[SupernodeEffectRecord]
) -> None:
    """Rows of table `supernode_effect`, in the caller's transaction."""
    sql = """INSERT INTO supernode_effect (job_id, graph_id, name, nodes, predicted, measured, verdict)
        VALUES (?, ?, ?, ?, ?, ?, ?)"""
    rows = (
        (job_id, graph_id, each.name, json.dumps(sorted(each.nodes)), each.predicted, each.measured, each.verdict)
        for each in effects
    )
    db.conn.executemany(sql, rows)


def insert_effects(db: Database, graph_id: int, job_id: int, effects: Iterable[EffectRecord]) -> None:
    """Rows of table `effect`, in the caller's transaction."""
    columns = ", ".join(EffectRecord.__dataclass_fields__)
    marks = ", ".join("?" * (2 + len(EffectRecord.__dataclass_fields__)))
    rows = ((job_id, graph_id, *astuple(effect)) for effect in effects)
    db.conn.executemany(f"INSERT INTO effect (job_id, graph_id, {columns}) VALUES ({marks})", rows)


def effects(db: Database, graph_id: int, kind: str = "ablation") -> list[EffectRecord]:
    """What the latest validation of a graph measured: `kind` is ablation, swap or control.

    A graph that was never validated has what was measured on the graph that it was pruned from: an effect belongs to a
    feature and a prompt, whatever the thresholds.
    """
    columns = ", ".join(EffectRecord.__dataclass_fields__)
    sql = f"SELECT {columns} FROM effect WHERE graph_id = ? AND job_id = ? AND kind = ? ORDER BY id"
    where = _latest(db, "effect", graph_id)
    return [EffectRecord(*row) for row in db.execute(sql, [*where, kind]).fetchall()] if where else []


def edge_effects(db: Database, graph_id: int) -> list[EdgeEffectRecord]:
    """What the latest validation that tested edges of a graph, or of the graph that it was pruned from, measured."""
    columns = ", ".join(EdgeEffectRecord.__dataclass_fields__)
    sql = f"SELECT {columns} FROM edge_effect WHERE graph_id = ? AND job_id = ? ORDER BY id"
    where = _latest(db, "edge_effect", graph_id)
    return [EdgeEffectRecord(*row) for row in db.execute(sql, where).fetchall()] if where else []


def supernode_effects(db: Database, graph_id: int) -> list[SupernodeEffectRecord]:
    """What the latest validation of a graph that had supernodes measured of them."""
    sql = """SELECT name, nodes, predicted, measured, verdict FROM supernode_effect
        WHERE graph_id = ? AND job_id = ? ORDER BY id"""
    where = _latest(db, "supernode_effect", graph_id)
    rows = db.execute(sql, where).fetchall() if where else []
    return [SupernodeEffectRecord(name, json.loads(nodes), *rest) for name, nodes, *rest in rows]


def _latest(db: Database, table: str, graph_id: int) -> list[int]:
    """[graph, job] of the latest rows of `table` for the graph or the nearest of its ancestors; empty if none."""
    for ancestor in _ancestry(db, graph_id):
        job = db.execute(f"SELECT max(job_id) FROM {table} WHERE graph_id = ?", [ancestor]).fetchone()[0]
        if job is not None:
            return [ancestor, int(job)]
    return []


def _ancestry(db: Database, graph_id: int) -> list[int]:
    """The graph, and those that it was pruned from, nearest first."""
    found = [graph_id]
    sql = "SELECT json_extract(summary, '$.pruned_from') FROM graph WHERE id = ?"
    while (row := db.execute(sql, [found[-1]]).fetchone()) and row[0] is not None and row[0] not in found:
        found.append(int(row[0]))
    return found


def supernodes(db: Database, graph_id: int) -> dict[str, list[int]]:
    """The named groups of nodes of a graph, by name in the order in which they were made; a node is in at most one."""
    sql = "SELECT name, nodes FROM supernode WHERE graph_id = ? ORDER BY id"
    return {name: json.loads(nodes) for name, nodes in db.execute(sql, [graph_id]).fetchall()}


def set_supernode(db: Database, graph_id: int, name: str, nodes: Iterable[int]) -> None:
    """Make the supernode `name` of `nodes`, or give the one there is these nodes, in the caller's transaction."""
    sql = """INSERT INTO supernode (graph_id, name, nodes) VALUES (?, ?, ?)
        ON CONFLICT (graph_id, name) DO UPDATE SET nodes = excluded.nodes"""
    db.execute(sql, [graph_id, name, json.dumps(sorted(set(nodes)))])


def rename_supernode(db: Database, graph_id: int, old: str, new: str) -> None:
    """Give the supernode `old` the name `new`, which is free, in the caller's transaction."""
    db.execute("UPDATE supernode SET name = ? WHERE graph_id = ? AND name = ?", [new, graph_id, old])


def remove_supernode(db: Database, graph_id: int, name: str) -> None:
    """Dissolve a supernode: its nodes stay, alone, in the caller's transaction."""
    db.execute("DELETE FROM supernode WHERE graph_id = ? AND name = ?", [graph_id, name])


def feature_words(db: Database, dictionary: str, features: set[tuple[int, int]]) -> dict[tuple[int, int], FeatureWords]:
    """Label and promoted tokens of those of `features` (layer, feature) that were indexed."""
    sql = """SELECT dictionary.layer, feature.feature, label, promoted, fires_on
        FROM feature JOIN dictionary ON dictionary.id = dictionary_id
        WHERE dictionary.name = ? AND dictionary.layer = ? AND feature.feature = ?"""
    found = (db.execute(sql, [dictionary, layer, feature]).fetchone() for layer, feature in sorted(features))
    return {(row[0], row[1]): FeatureWords(row[2], json.loads(row[3]), json.loads(row[4])) for row in found if row}


def _graph(row: dict[str, Any]) -> GraphRecord:
    read = {name: json.loads(row[name]) for name in ("token_ids", "targets", "summary")}
    return GraphRecord(**(row | read | {"closing_error": _or_nan(row["closing_error"])}))


def _node(row: tuple[Any, ...]) -> NodeRecord:
    record = NodeRecord(*row)
    if None not in (row[5], row[7]):
        return record
    return replace(record, activation=_or_nan(row[5]), share=_or_nan(row[7]))


def _or_nan(value: float | None) -> float:
    """SQLite has no NaN: what is written as one is read as NULL."""
    return math.nan if value is None else value
