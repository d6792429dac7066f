"""A project's rows as JSON Lines, so that a pack can carry them and another project can take them in one by one.

Rows travel, never a database: every row is inserted through the schema of the project that receives it.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pysqlite3

from store import database
from store.errors import Damaged
from store.files import StoredFile
from store.jobs import ORIGIN
from store.project import ModelRecord, Project
from store.search import index_feature
from store.sqlite_rows import Database

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]
Tables = dict[str, list[Row]]

FOLDER = "tables"
"""Where a pack keeps its rows: a file a table, a row a line."""
STAYS = frozenset({"model", "project", "ui_state", "job_turn", "fires_on", "sqlite_schema", "sqlite_sequence"})
"""Tables that do not travel: what the project says of itself, of its screen and its queue, and what triggers fill."""
_BLOB = "base64:"
_MEND = "get the pack again from who made it"


def travelling_tables(db: Database) -> list[str]:
    """Every table whose rows go into a pack, referenced tables first."""
    listed = db.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'").fetchall()
    names = sorted({name for (name,) in listed if not name.startswith("sqlite_")} - STAYS)
    referenced = 'SELECT DISTINCT "table" FROM pragma_foreign_key_list(?)'
    before = {name: {row[0] for row in db.execute(referenced, [name]).fetchall()} - {name} for name in names}
    return [name for name in TopologicalSorter(before).static_order() if name in before]


def export_rows(db: Database, *, activations: bool) -> Tables:
    """All rows of finished work: succeeded jobs and what they left. Without `activations`, no shards."""
    tables = {table: [_as_row(row) for row in db.query(f"SELECT * FROM {table}")] for table in travelling_tables(db)}
    tables["job"] = [job for job in tables["job"] if job["state"] == "succeeded"]
    succeeded = {job["id"] for job in tables["job"]} | {None}
    for table, rows in tables.items():
        tables[table] = [row for row in rows if row.get("job_id") in succeeded]
    tables["job_event"] = [event for event in tables["job_event"] if event["kind"] != ORIGIN]
    if not activations:
        left_out = {shard["file_id"] for shard in tables["shard"]}
        tables["shard"] = []
        tables["file"] = [file for file in tables["file"] if file["id"] not in left_out]
    return tables


def stored_files(tables: Tables) -> list[StoredFile]:
    """The files that the rows name."""
    return [StoredFile(row["path"], row["size_bytes"], row["hash"]) for row in tables["file"]]


def as_lines(tables: Tables) -> dict[str, bytes]:
    """The rows as files of JSON Lines by archive path."""
    return {f"{FOLDER}/{table}.jsonl": b"".join(map(_line, rows)) for table, rows in tables.items()}


def read_tables(directory: Path) -> Tables:
    """The rows of an unpacked pack; `Damaged` if they are not tables of rows."""
    tables = {path.stem: [*_rows(path)] for path in sorted((directory / FOLDER).glob("*.jsonl"))}
    if not {"file", "job"} <= tables.keys():
        raise Damaged("the pack does not hold a project's rows", _MEND)
    return tables


def upgraded(tables: Tables, schema: int) -> Tables:
    """Rows of an earlier schema as the newest one has them, by migrating them in memory."""
    if schema == database.newest_version():
        return tables
    db = Database(pysqlite3.connect(":memory:", isolation_level=None), execute_plugins=False)
    try:
        database.migrate(db, schema)
        with database.immediate(db):
            _insert_all(db, tables)
        database.migrate(db)
        return {table: [_as_row(row) for row in db.query(f"SELECT * FROM {table}")] for table in travelling_tables(db)}
    finally:
        db.close()


def import_project(
    source: Path,
    directory: Path,
    model: ModelRecord,
    tables: Tables,
    version: str,
    left_out: Collection[str] = (),
    advance: Callable[[], object] = lambda: None,
) -> Project:
    """A new project in `directory` with these rows, its files moved there from `source` and checked by their hashes.

    `left_out` are the paths of files that the pack does not hold. Raises `Damaged` for rows that the schema refuses and
    for files that are not what their rows say; `advance` hears of each file.
    """
    project = Project.create(directory, model, version)
    try:
        for stored in stored_files(tables):
            _refuse_path(stored.path)
            if stored.path not in left_out:
                _move(source / stored.path, directory / stored.path)
                project.files.verify(stored)
            advance()
        with project.transaction():
            _insert_all(project.db, tables)
            _index(project.db)
    except BaseException:
        project.close()
        raise
    return project


def _move(source: Path, target: Path) -> None:
    if not source.is_file():
        raise Damaged(f"the pack lacks {target.parent.name}/{target.name}, which its rows name", _MEND)
    target.parent.mkdir(exist_ok=True)
    shutil.move(source, target)


def _rows(path: Path) -> Iterable[Row]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Damaged(f"line {number} of {FOLDER}/{path.name} is not JSON", _MEND) from error
        if not isinstance(row, dict):
            raise Damaged(f"line {number} of {FOLDER}/{path.name} is no row", _MEND)
        yield row


def _line(row: Row) -> bytes:
    return (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def _refuse_path(path: object) -> None:
    """A stored file lies in a folder of the project, nowhere else."""
    parts = Path(path).parts if isinstance(path, str) else ()
    if len(parts) != 2 or ".." in parts or Path(str(path)).is_absolute():
        raise Damaged(f"the pack names a file outside its folders ({path!r})", _MEND)


def _insert_all(db: Database, tables: Tables) -> None:
    """Every row, in the order of the references; a table that this workbench does not have is `Damaged`."""
    known = travelling_tables(db)
    if unknown := sorted(tables.keys() - set(known)):
        raise Damaged(f"the pack holds rows of {unknown[0]!r}, which this workbench has no table for", _MEND)
    for table in known:
        columns = [column.name for column in db[table].columns]
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        for row in tables.get(table, []):
            _insert(db, sql, table, columns, row)


def _insert(db: Database, sql: str, table: str, columns: list[str], row: Mapping[str, Any]) -> None:
    if set(row) != set(columns):
        raise Damaged(f"a row of {table} in the pack has other columns than this workbench", _MEND)
    try:
        db.execute(sql, [_from_json(row[column]) for column in columns])
    except (pysqlite3.Error, ValueError, OverflowError) as error:
        raise Damaged(f"a row of {table} in the pack cannot be taken in ({error})", _MEND) from error


def _index(db: Database) -> None:
    """Make the features findable: by label, promoted tokens, and the words around their examples."""
    sql = "SELECT id, label, promoted, words FROM feature LEFT JOIN context ON feature_id = feature.id"
    for row in list(db.query(sql)):
        try:
            promoted = " ".join(str(token) for token, _ in json.loads(row["promoted"]))
        except (ValueError, TypeError) as error:
            raise Damaged(f"the tokens of feature {row['id']} in the pack cannot be read", _MEND) from error
        index_feature(db, row["id"], row["label"], row["words"] or "", promoted)


def _as_row(row: Mapping[str, Any]) -> Row:
    return {name: _BLOB + base64.b64encode(v).decode() if isinstance(v, bytes) else v for name, v in row.items()}


def _from_json(value: object) -> object:
    if isinstance(value, str) and value.startswith(_BLOB):
        return base64.b64decode(value.removeprefix(_BLOB), validate=True)
    return value
