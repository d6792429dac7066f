"""SQLite as the project uses it: one linked version, one set of pragmas, numbered migrations.

The linked SQLite comes with `pysqlite3` because 3.7.0 to 3.51.2 can corrupt a database when a WAL is reset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import pysqlite3

from store.errors import BadInput, Damaged, WorkbenchError
from store.sqlite_rows import Database

MINIMUM_SQLITE = (3, 51, 3)
"""The first release without the WAL-reset bug."""
PROBE_PREFIX = ".wal-probe-"
"""Name of the throw-away directory in which WAL is tried."""
NETWORK_FILE_SYSTEMS = frozenset({
    "afs", "beegfs", "ceph", "cifs", "fhgfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.juicefs",
    "fuse.mfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2",
    "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
})  # fmt: skip
"""Types of file systems that several nodes can have at the same time."""
_MOUNTS = Path("/proc/self/mountinfo")
_MIGRATION_NAME = re.compile(r"(\d{4})_\w+\.sql")


def connect(path: Path, *, write: bool) -> Database:
    """Open the existing database at `path`, in autocommit mode and with foreign keys on.

    A reader opens `mode=ro`, or `immutable` where the directory itself cannot be written and no WAL is pending.
    Raises `Damaged` if the file is no database.
    """
    _require_safe_sqlite()
    mode = "rw" if write else "ro"
    if not write and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        mode = "ro&immutable=1"
    try:
        connection = pysqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except pysqlite3.DatabaseError as error:
        raise Damaged(f"{path} cannot be read as a database ({error})", "restore it from a copy or a pack") from error
    return Database(connection, execute_plugins=False)


@contextmanager
def immediate(db: Database) -> Iterator[None]:
    """A write transaction: committed at the end, rolled back if anything at all is raised."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        db.rollback()


def use_safest_journal(db: Database, directory: Path) -> str:
    """Switch to WAL where the file system of `directory` can do it, else to a rollback journal; returns which."""
    wanted = "wal" if _wal_works(directory) else "delete"
    try:
        found = str(db.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0])
    except pysqlite3.OperationalError as error:
        raise WorkbenchError(
            f"the file system of {directory} cannot hold the database as it is ({error})",
            "copy the project to a local disk",
        ) from error
    return found


def migrations() -> list[tuple[int, str]]:
    """The numbered migrations in order: the schema version that each leads to, and its SQL."""
    found: list[tuple[int, str]] = []
    for entry in (resources.files("store") / "migrations").iterdir():
        if match := _MIGRATION_NAME.fullmatch(entry.name):
            found.append((int(match[1]), entry.read_text("utf-8")))
    return sorted(found)


def schema_version(db: Database) -> int:
    """The version that the database is at: 0 if it is empty."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def newest_version() -> int:
    """The schema version that this code reads and writes."""
    return migrations()[-1][0]


def refuse_newer(db: Database, path: Path) -> None:
    """Raise `BadInput` if a newer workbench has been at this database."""
    if (version := schema_version(db)) > newest_version():
        raise BadInput(
            f"{path} has schema {version} and this workbench knows up to {newest_version()}",
            "open it with the newer workbench that made it",
        )


def migrate(db: Database, to_version: int | None = None) -> None:
    """Bring the database up to `to_version` (default: the newest), one transaction a migration.

    Foreign keys are off meanwhile, so that tables can be rebuilt, and are checked before each commit.
    """
    db.execute("PRAGMA foreign_keys = OFF")
    for version, sql in migrations():
        if schema_version(db) < version <= (to_version or newest_version()):
            with immediate(db):
                db.executescript(sql)
                if broken := db.execute("PRAGMA foreign_key_check").fetchone():
                    raise Damaged(f"migration {version} would break a reference of table {broken[0]}", "report this")
                db.execute(f"PRAGMA user_version = {version}")
    db.execute("PRAGMA foreign_keys = ON")


def file_system_of(directory: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system that the directory is on, as the kernel names it (`nfs4`); empty if unknown."""
    device = directory.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, kind = line.partition(" - ")
            if mount.split()[2] == number:
                return kind.split()[0]
    return ""


def _require_safe_sqlite() -> None:
    """Refuse a linked SQLite that can corrupt a database."""
    linked: tuple[int, ...] = pysqlite3.sqlite_version_info
    if linked < MINIMUM_SQLITE:
        wanted = ".".join(map(str, MINIMUM_SQLITE))
        raise WorkbenchError(
            f"SQLite {pysqlite3.sqlite_version} is linked and {wanted} is the first without a corruption bug",
            "pip install 'pysqlite3>=0.6.1'",
        )


def _wal_works(directory: Path) -> bool:
    """Whether two connections can share a WAL here: never on a network file system, where each node would have an index
    of its own and trying it from one node tells nothing; else it is tried, as some fail only at the second one."""
    if file_system_of(directory) in NETWORK_FILE_SYSTEMS:
        return False
    with TemporaryDirectory(prefix=PROBE_PREFIX, dir=directory) as folder:
        path = str(Path(folder) / "probe.db")
        try:
            with (
                closing(pysqlite3.connect(path, isolation_level=None)) as writer,
                closing(pysqlite3.connect(path, isolation_level=None)) as reader,
            ):
                if writer.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                    return False
                writer.execute("CREATE TABLE probe (value INTEGER)")
                writer.execute("INSERT INTO probe VALUES (1)")
                return bool(reader.execute("SELECT value FROM probe").fetchone()[0] == 1)
        except pysqlite3.OperationalError:
            return False
