"""A project's rows as JSON, so that a pack can carry them and another project can take them in one by one.

Rows travel, never a database: every row is inserted through the schema of the project that receives it.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import Damaged
from store.files import StoredFile
from store.jobs import ORIGIN
from store.project import ModelRecord, Project
from store.search import index_feature

if TYPE_CHECKING:
    from sqlite_utils import Database

Tables = dict[str, list[dict[str, Any]]]

TABLES = (
    "file", "job", "job_event", "prompt", "baseline", "surprise", "capture", "shard", "dictionary", "training_point",
    "feature", "example", "graph", "node", "edge", "supernode", "intervention", "effect",
    "edge_effect", "supernode_effect", "finding",
)  # fmt: skip
"""What travels, referenced tables first."""
_BLOB = "base64:"
_MEND = "get the pack again from who made it"


def export_rows(db: Database, *, activations: bool) -> Tables:
    """All rows of finished work: succeeded jobs and what they left. Without `activations`, no shards."""
    tables: Tables = {}
    for table in TABLES:
        rows = [dict(row) for row in db.query(f"SELECT * FROM {table}")]
        tables[table] = [{name: _as_json(value) for name, value in row.items()} for row in rows]
    tables["job"] = [job for job in tables["job"] if job["state"] == "succeeded"]
    succeeded = {job["id"] for job in tables["job"]}
    tables["job_event"] = [
        event for event in tables["job_event"] if event["job_id"] in succeeded and event["kind"] != ORIGIN
    ]
    if not activations:
        left_out = {shard["file_id"] for shard in tables["shard"]}
        tables["shard"] = []
        tables["file"] = [file for file in tables["file"] if file["id"] not in left_out]
    return tables


def stored_files(tables: Tables) -> list[StoredFile]:
    """The files that the rows name."""
    return [StoredFile(row["path"], row["size_bytes"], row["hash"]) for row in tables["file"]]


def import_project(source: Path, directory: Path, model: ModelRecord, tables: Tables, version: str) -> Project:
    """A new project in `directory` with these rows, its files moved there from `source` and checked by their hashes.

    Raises `Damaged` for rows that the schema refuses and for files that are not what their rows say.
    """
    project = Project.create(directory, model, version)
    try:
        for stored in stored_files(tables):
            _refuse_path(stored.path)
            (directory / stored.path).parent.mkdir(exist_ok=True)
            shutil.move(source / stored.path, directory / stored.path)
            project.files.verify(stored)
        with project.transaction():
            for table in TABLES:
                _insert(project.db, table, tables.get(table, []))
            _index(project.db)
    except BaseException:
        project.close()
        raise
    return project


def read_tables(text: bytes) -> Tables:
    """The rows of a pack; `Damaged` if they are not tables of rows."""
    try:
        tables = json.loads(text)
    except ValueError as error:
        raise Damaged("the pack's rows are not JSON", _MEND) from error
    if not isinstance(tables, dict) or not all(_is_rows(rows) for rows in tables.values()):
        raise Damaged("the pack's rows are not tables", _MEND)
    return tables


def _is_rows(rows: object) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _refuse_path(path: str) -> None:
    """A stored file lies in a folder of the project, nowhere else."""
    parts = Path(path).parts
    if len(parts) != 2 or ".." in parts or Path(path).is_absolute():
        raise Damaged(f"the pack names a file outside its folders ({path!r})", _MEND)


def _insert(db: Database, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = [column.name for column in db[table].columns]
    marks = ", ".join("?" * len(columns))
    for row in rows:
        if set(row) != set(columns):
            raise Damaged(f"a row of {table} in the pack has other columns than this workbench", _MEND)
        try:
            values = [_from_json(row[column]) for column in columns]
            db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
        except (db.conn.IntegrityError, db.conn.OperationalError, ValueError) as error:
            raise Damaged(f"a row of {table} in the pack cannot be taken in ({error})", _MEND) from error


def _index(db: Database) -> None:
    """Make the features findable by label and promoted tokens; example texts need the corpus (`workbench index`)."""
    for row in list(db.query("SELECT id, label, promoted FROM feature")):
        promoted = " ".join(str(token) for token, _ in json.loads(row["promoted"]))
        index_feature(db, row["id"], row["label"], "", promoted)


def _as_json(value: object) -> object:
    return _BLOB + base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _from_json(value: object) -> object:
    if isinstance(value, str) and value.startswith(_BLOB):
        return base64.b64decode(value.removeprefix(_BLOB), validate=True)
    return value
