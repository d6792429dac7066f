"""Dictionary sets as rows: which there are, what is known of each layer, and their removal."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from store.files import StoredFile

if TYPE_CHECKING:
    from sqlite_utils import Database

_FILE_USERS = ("shard", "dictionary", "graph")
"""The tables whose rows name a file."""


@dataclass(frozen=True)
class DictionaryRecord:
    """One row of table `dictionary`: one layer of a set, with its JSON read."""

    id: int
    name: str
    layer: int
    n_features: int
    objective: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    """As training left them; empty of an imported set."""
    job_id: int | None
    file: StoredFile
    n_indexed: int
    """Features that `workbench index` has described."""


def listing(db: Database) -> dict[str, list[DictionaryRecord]]:
    """Every set: name -> its layers in order, the sets in the order of their names."""
    sets: dict[str, list[DictionaryRecord]] = {}
    for record in _records(db, ""):
        sets.setdefault(record.name, []).append(record)
    return sets


def find(db: Database, name: str) -> list[DictionaryRecord]:
    """The layers of a set; `BadInput` names the sets there are."""
    found = _records(db, "WHERE dictionary.name = ?", name)
    if not found:
        known = ", ".join(listing(db))
        raise BadInput(
            f"no dictionary set named {name!r} in this project",
            f"there are {known}" if known else "`workbench train` makes one, `workbench dictionaries import` takes one",
        )
    return found


def graphs_with(db: Database, name: str) -> list[int]:
    """The graphs whose features are of that set."""
    return [row[0] for row in db.execute("SELECT id FROM graph WHERE dictionary = ? ORDER BY id", [name]).fetchall()]


def remove(db: Database, records: Collection[DictionaryRecord]) -> None:
    """Delete these rows, and all that is known of their features. Inside the caller's transaction.

    Files that no row names any more are swept by `Project.sweep`.
    """
    for record in records:
        [(file_id,)] = db.execute("SELECT file_id FROM dictionary WHERE id = ?", [record.id]).fetchall()
        db.execute("DELETE FROM dictionary WHERE id = ?", [record.id])
        used = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE file_id = file.id)" for table in _FILE_USERS)
        db.execute(f"DELETE FROM file WHERE id = ? AND NOT ({used})", [file_id])


def _records(db: Database, where: str, *values: str) -> list[DictionaryRecord]:
    sql = f"""SELECT dictionary.id, name, layer, n_features, objective, config, metrics, job_id, path, size_bytes, hash,
            (SELECT count(*) FROM feature WHERE dictionary_id = dictionary.id)
        FROM dictionary JOIN file ON file.id = file_id {where} ORDER BY name, layer"""
    return [_record(*row) for row in db.execute(sql, list(values)).fetchall()]


def _record(
    id: int, name: str, layer: int, n_features: int, objective: str, config: str, metrics: str, job_id: int | None,
    path: str, size_bytes: int, digest: str, n_indexed: int,
) -> DictionaryRecord:  # fmt: skip
    file = StoredFile(path, size_bytes, digest)
    return DictionaryRecord(
        id, name, layer, n_features, objective, json.loads(config), json.loads(metrics), job_id, file, n_indexed
    )
