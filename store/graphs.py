"""Reading attribution graphs: their rows, what was measured on them, and what is known of their features."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import Missing
from store.files import StoredFile

if TYPE_CHECKING:
    from sqlite_utils import Database

    from store.project import Project

_GRAPHS = """
    SELECT graph.id, prompt, tokens AS token_ids, dictionary,
        targets, rule, closing_error, replacement_score, completeness_score, summary,
        (SELECT n_layers FROM model JOIN project ON model.id = project.model_id) AS n_layers,
        (SELECT count(*) FROM node WHERE graph_id = graph.id) AS n_nodes,
        (SELECT count(*) FROM edge WHERE graph_id = graph.id) AS n_edges,
        job.finished_at AS created_at
    FROM graph JOIN job ON job.id = graph.job_id"""


@dataclass(frozen=True)
class GraphRecord:
    """One row of table `graph` with its JSON read, and how many nodes and edges were kept."""

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
    """One kept node: a row of table `node`."""

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
    return [NodeRecord(*row) for row in rows]


def edges(db: Database, graph_id: int) -> list[EdgeRecord]:
    """The kept edges of a graph, by target."""
    sql = "SELECT source, target, share, effect FROM edge WHERE graph_id = ? ORDER BY target, source"
    return [EdgeRecord(*row) for row in db.execute(sql, [graph_id]).fetchall()]


def effects(db: Database, graph_id: int, kind: str = "ablation") -> list[EffectRecord]:
    """What the latest validation of a graph measured: `kind` is ablation, swap or control."""
    columns = ", ".join(EffectRecord.__dataclass_fields__)
    sql = f"""SELECT {columns} FROM effect WHERE graph_id = :graph AND kind = :kind
        AND job_id = (SELECT max(job_id) FROM effect WHERE graph_id = :graph) ORDER BY id"""
    return [EffectRecord(*row) for row in db.execute(sql, {"graph": graph_id, "kind": kind}).fetchall()]


def feature_words(db: Database, dictionary: str, features: set[tuple[int, int]]) -> dict[tuple[int, int], FeatureWords]:
    """Label and promoted tokens of those of `features` (layer, feature) that were indexed."""
    sql = """SELECT dictionary.layer, feature.feature, label, promoted, fires_on
        FROM feature JOIN dictionary ON dictionary.id = dictionary_id
        WHERE dictionary.name = ? AND dictionary.layer = ? AND feature.feature = ?"""
    found = (db.execute(sql, [dictionary, layer, feature]).fetchone() for layer, feature in sorted(features))
    return {(row[0], row[1]): FeatureWords(row[2], json.loads(row[3]), json.loads(row[4])) for row in found if row}


def _graph(row: dict[str, Any]) -> GraphRecord:
    read = {name: json.loads(row[name]) for name in ("token_ids", "targets", "summary")}
    return GraphRecord(**(row | read))
