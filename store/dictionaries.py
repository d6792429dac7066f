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
_WITH_WEIGHTS = "file_id IS NOT NULL"


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
    file: StoredFile | None
    """None of what was only indexed: the model's neurons, transcoders that lie beside the project."""
    n_indexed: int
    """Features that `workbench index` has described."""
    kind: str = "sae"

    @property
    def weights(self) -> StoredFile:
        """The file of its weights; `BadInput` if the project has none."""
        if self.file is None:
            raise BadInput(f"the weights of {self.name!r} are no file of this project", "name a set that has some")
        return self.file


def listing(db: Database, *, indexed: bool = False) -> dict[str, list[DictionaryRecord]]:
    """Every set with weights: name -> its layers in order, the sets in the order of their names.

    With `indexed` also what was only described: neurons, and transcoders that lie beside the project.
    """
    sets: dict[str, list[DictionaryRecord]] = {}
    for record in _records(db, "" if indexed else f"WHERE {_WITH_WEIGHTS}"):
        sets.setdefault(record.name, []).append(record)
    return sets


def find(db: Database, name: str, *, indexed: bool = False) -> list[DictionaryRecord]:
    """The layers of a set, with `indexed` as in `listing`; `BadInput` names the sets there are."""
    found = _records(db, f"WHERE dictionary.name = ?{'' if indexed else f' AND {_WITH_WEIGHTS}'}", name)
    if not found:
        known = ", ".join(listing(db, indexed=indexed))
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
            (SELECT count(*) FROM feature WHERE dictionary_id = dictionary.id), dictionary.kind
        FROM dictionary LEFT JOIN file ON file.id = file_id {where} ORDER BY name, layer"""
    return [_record(*row) for row in db.execute(sql, list(values)).fetchall()]


def _record(
    id: int, name: str, layer: int, n_features: int, objective: str, config: str, metrics: str, job_id: int | None,
    path: str | None, size_bytes: int, digest: str, n_indexed: int, kind: str,
) -> DictionaryRecord:  # fmt: skip
    file = None if path is None else StoredFile(path, size_bytes, digest)
    return DictionaryRecord(
        id, name, layer, n_features, objective, json.loads(config), json.loads(metrics), job_id, file, n_indexed, kind
    )
