"""One project: a directory with `project.db` and the files that its rows name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import pysqlite3

from store import database, jobs
from store.errors import BadInput, Damaged, Missing, WorkbenchError
from store.files import FOLDERS, FileStore, StoredFile, hold_ballast, sync
from store.location import DATABASE_NAME
from store.lock import LOCK_NAME, WriteLock, held_on_other_node
from store.sqlite_rows import Database

_CREATING_NAME = ".project.db.creating"


@dataclass(frozen=True)
class ModelRecord:
    """The model that a project pins: the columns of table `model`.

    `revision` is a hub commit, or the content hash of local weights; `family` is transformers' `model_type`.
    """

    spec: str
    revision: str
    family: str
    n_layers: int
    d_model: int
    d_mlp: int
    vocab_size: int
    device: str
    dtype: str


class Project:
    """An open project. Make one with `create` or `open`; it is a context manager that closes itself.

    One thread uses one `Project`; a process may have one that works and any number that read or note.
    """

    directory: Path
    db: Database
    files: FileStore
    lock: WriteLock | None
    """The project's lock, where this process works on it."""
    writable: bool
    """Whether rows can be written."""

    def __init__(self, directory: Path, db: Database, lock: WriteLock | None, writable: bool) -> None:
        """Wrap an open database; `lock` is held by the one process that works, and None for all others."""
        self.directory = directory
        self.db = db
        self.files = FileStore(directory)
        self.lock = lock
        self.writable = writable

    @classmethod
    def create(cls, directory: Path, model: ModelRecord, version: str) -> Self:
        """Make a project in `directory` (made if it is not there) and open it for writing.

        `version` is the workbench's. Raises `BadInput` over an existing project; a failure leaves nothing behind.
        """
        _refuse_existing(directory)
        made = _make_directory(directory)
        lock = WriteLock.take(directory)
        with ExitStack() as undo:
            undo.callback(lock.release)
            _refuse_existing(directory)  # again, now that nobody else can be making one
            undo.callback(_remove_unfinished, directory, made)
            _write_database(directory / _CREATING_NAME, model, version)
            for folder in FOLDERS:
                (directory / folder).mkdir(exist_ok=True)
            (directory / _CREATING_NAME).rename(directory / DATABASE_NAME)
            sync(directory)
            undo.pop_all()
        return cls._open_locked(directory, lock)

    @classmethod
    def open(cls, directory: Path, write: bool, work: bool = True) -> Self:
        """Open an existing project.

        Who writes and works takes the project's lock (refused in one line if another process has it), migrates, marks
        jobs that a dead process left as `interrupted`, and sweeps leftovers. Who writes without `work` only notes rows
        (a queued job, a label, a supernode), runs no job and writes no file; that is possible beside one that works. A
        reader only reads, and never waits.
        """
        path = _database_of(directory)
        if write and work:
            return cls._open_locked(directory, WriteLock.take(directory))
        with ExitStack() as undo:
            db = database.connect(path, write=write)
            undo.callback(db.close)
            database.refuse_newer(db, path)
            if write:
                _refuse_far_journal(db, directory)
            undo.pop_all()
        if database.schema_version(db) < database.newest_version():
            db.close()
            cls.open(directory, write=True).close()
            db = database.connect(path, write=write)
        return cls(directory, db, None, write)

    @classmethod
    def open_beside(cls, directory: Path, lock: WriteLock) -> Self:
        """Open for work under a lock that the parent process took and has put everything right with."""
        return cls(directory, database.connect(_database_of(directory), write=True), lock, True)

    @cached_property
    def model(self) -> ModelRecord:
        """The model that the project pins."""
        columns = ", ".join(f"model.{name}" for name in ModelRecord.__dataclass_fields__)
        try:
            row = self.db.execute(f"SELECT {columns} FROM project JOIN model ON model.id = model_id").fetchone()
        except pysqlite3.DatabaseError as error:
            fault = f"{self.directory / DATABASE_NAME} holds no project ({error})"
            raise Damaged(fault, "restore it from a copy or a pack") from error
        if row is None:
            raise Damaged(f"{self.directory / DATABASE_NAME} names no model", "restore it from a copy or a pack")
        return ModelRecord(*row)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All the writes inside, or none. Transactions do not nest, so that a commit is always durable."""
        if not self.writable or self.db.conn.in_transaction:
            raise RuntimeError("a transaction needs a project opened for writing, and no other transaction around it")
        with database.immediate(self.db):
            yield

    def record_file(self, stored: StoredFile) -> int:
        """The id of the row that names `stored`, written now if there is none."""
        self.db.execute(
            "INSERT INTO file (path, size_bytes, hash) VALUES (?, ?, ?) ON CONFLICT (path) DO NOTHING",
            [stored.path, stored.size_bytes, stored.hash],
        )
        row = self.db.execute("SELECT id, hash FROM file WHERE path = ?", [stored.path]).fetchone()
        if row[1] != stored.hash:
            raise Damaged(f"{stored.path} is already recorded with other content", "restore it from a copy or a pack")
        return int(row[0])

    def file(self, file_id: int) -> StoredFile:
        """The file that a row names; `files.verify` gives its checked path."""
        row = self.db.execute("SELECT path, size_bytes, hash FROM file WHERE id = ?", [file_id]).fetchone()
        if row is None:
            raise Missing(f"no file {file_id} in this project", "the job that made it has to run again")
        return StoredFile(*row)

    def sweep(self) -> list[str]:
        """Remove files that were written and never recorded; returns their paths."""
        return self.files.sweep({row[0] for row in self.db.execute("SELECT path FROM file").fetchall()})

    def close(self) -> None:
        """Close the database and let the next writer in."""
        self.db.close()
        if self.lock:
            self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @classmethod
    def _open_locked(cls, directory: Path, lock: WriteLock) -> Self:
        """Open for writing under a lock that is held already, and put right what a dead process left."""
        path = directory / DATABASE_NAME
        with ExitStack() as undo:
            undo.callback(lock.release)
            db = database.connect(path, write=True)
            undo.callback(db.close)
            database.refuse_newer(db, path)
            if database.schema_version(db) == 0:
                raise Damaged(f"{path} is empty", "restore it from a copy or a pack")
            for probe in directory.glob(f"{database.PROBE_PREFIX}*"):
                shutil.rmtree(probe)
            database.use_safest_journal(db, directory)
            database.migrate(db)
            jobs.interrupt_abandoned(db)
            hold_ballast(directory)
            project = cls(directory, db, lock, True)
            project.sweep()
            undo.pop_all()
        return project


def _database_of(directory: Path) -> Path:
    """The project's database; `Missing` if there is none."""
    path = directory / DATABASE_NAME
    if not path.is_file():
        raise Missing(f"no project in {directory}", "`workbench init DIR` makes one")
    return path


def _refuse_far_journal(db: Database, directory: Path) -> None:
    """On a network file system only one node writes: raise `WorkbenchError` naming it, if that is another one."""
    if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal" and (holder := held_on_other_node(directory)):
        raise WorkbenchError(f"{directory} is being written by {holder}", "run this command on that node")


def _write_database(path: Path, model: ModelRecord, version: str) -> None:
    """A closed, synced database with the newest schema and the project's one row."""
    for leftover in path.parent.glob(f"{path.name}*"):  # a journal of a killed attempt would be played into this one
        leftover.unlink()
    path.touch()
    db = database.connect(path, write=True)
    try:
        database.migrate(db)
        with database.immediate(db):
            columns = asdict(model)
            marks = ", ".join("?" * len(columns))
            db.execute(f"INSERT INTO model (id, {', '.join(columns)}) VALUES (1, {marks})", list(columns.values()))
            db.execute(
                "INSERT INTO project (id, model_id, created_at, version) VALUES (1, 1, ?, ?)", [jobs.now(), version]
            )
    finally:
        db.close()
    sync(path)


def _refuse_existing(directory: Path) -> None:
    """Raise `BadInput` if the directory is a project."""
    if (directory / DATABASE_NAME).exists():
        raise BadInput(f"{directory} already is a project", "choose another directory, or use this one")


def _make_directory(directory: Path) -> Path | None:
    """Make the directory and those above it; returns the topmost one that was not there before."""
    missing = [path for path in [directory, *directory.parents] if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fault = f"no project can be made in {directory} ({error.strerror})"
        raise BadInput(fault, "choose a directory that can be written") from error
    return missing[-1] if missing else None


def _remove_unfinished(directory: Path, made: Path | None) -> None:
    """Take away what `create` made before it failed."""
    if made:
        shutil.rmtree(made)
        return
    for path in directory.glob(f"{_CREATING_NAME}*"):
        path.unlink()
    (directory / LOCK_NAME).unlink(missing_ok=True)
    for folder in FOLDERS:
        if (directory / folder).is_dir() and not any((directory / folder).iterdir()):
            (directory / folder).rmdir()
