"""Every earlier schema becomes the newest one, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pysqlite3
import pytest
from sqlite_utils import Database

from store import database
from store.errors import BadInput, Damaged
from store.project import Project
from tests.store.conftest import MODEL


@contextmanager
def _empty(tmp_path: Path, name: str) -> Iterator[Database]:
    (tmp_path / name).touch()
    db = database.connect(tmp_path / name, write=True)
    yield db
    db.close()


def _schema(db: Database) -> set[tuple[str, str]]:
    return set(db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())


def test_migrations_are_numbered_without_gaps() -> None:
    assert [version for version, _ in database.migrations()] == list(range(1, database.newest_version() + 1))


@pytest.mark.parametrize("earlier", range(database.newest_version()))
def test_every_earlier_schema_reaches_the_newest(tmp_path: Path, earlier: int) -> None:
    with _empty(tmp_path, "fresh.db") as fresh, _empty(tmp_path, "old.db") as old:
        database.migrate(fresh)
        if earlier:
            database.migrate(old, earlier)
        assert database.schema_version(old) == earlier
        database.migrate(old)
        assert database.schema_version(old) == database.schema_version(fresh) == database.newest_version()
        assert _schema(old) == _schema(fresh)
        assert old.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _empty(tmp_path, "old.db") as db:
        database.migrate(db)
        before = _schema(db)
        newest = database.newest_version()
        broken = "CREATE TABLE extra (value INTEGER); INSERT INTO extra VALUES (1); INSERT INTO nowhere VALUES (1);"
        monkeypatch.setattr(database, "migrations", lambda: [(newest + 1, broken)])
        with pytest.raises(pysqlite3.OperationalError, match="nowhere"):
            database.migrate(db)
        assert _schema(db) == before
        assert database.schema_version(db) == newest


def test_a_migration_that_breaks_a_reference_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _empty(tmp_path, "old.db") as db:
        database.migrate(db)
        breaks = "INSERT INTO example VALUES (77, x'00');"
        newest = database.newest_version()
        monkeypatch.setattr(database, "migrations", lambda: [(newest + 1, breaks)])
        with pytest.raises(Damaged, match="reference of table example"):
            database.migrate(db)
        assert db.execute("SELECT count(*) FROM example").fetchone() == (0,)


@pytest.mark.parametrize("write", [False, True])
def test_a_project_from_a_newer_workbench_is_refused(project: Project, write: bool) -> None:
    project.db.execute("PRAGMA user_version = 99")
    project.close()
    with pytest.raises(BadInput, match="has schema 99 and this workbench knows up to"):
        Project.open(project.directory, write)


def test_a_reader_of_an_older_project_has_it_migrated_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.close()
    newer = [*database.migrations(), (database.newest_version() + 1, "CREATE TABLE extra (value INTEGER) STRICT;")]
    monkeypatch.setattr(database, "migrations", lambda: newer)
    with Project.open(project.directory, write=False) as reader:
        assert not reader.writable
        assert reader.model == MODEL
        assert reader.db.execute("SELECT count(*) FROM extra").fetchone() == (0,)


def test_given_a_graph_of_the_first_schema_when_migrated_then_its_rows_are_what_they_were(tmp_path: Path) -> None:
    with _empty(tmp_path, "old.db") as db:
        database.migrate(db, 1)
        db.execute("PRAGMA foreign_keys = OFF")
        graph = (1, 1, "p", "[5]", "neurons", "[]", "ray", 1, 3e-7, 0.5, 0.75, "{}")
        nodes = [(1, 0, "feature", 2, 3, 4, 1.5, 0.25, -0.5, 0.125, 2.0), (1, 1, "token", -1, 0, 5, 0, 1, 1, None, 0)]
        db.execute(f"INSERT INTO graph VALUES ({', '.join('?' * 12)})", graph)
        db.conn.executemany(f"INSERT INTO node VALUES ({', '.join('?' * 11)})", nodes)
        db.execute("INSERT INTO supernode VALUES (1, 1, 'group', '[0]')")
        columns = "id, prompt, rule, closing_error, replacement_score, completeness_score, summary"
        db.conn.executescript((Path(database.__file__).parent / "migrations/0002_unknown_numbers.sql").read_text())
        assert db.execute(f"SELECT {columns} FROM graph").fetchall() == [(1, "p", "ray", 3e-7, 0.5, 0.75, "{}")]
        assert db.execute("SELECT * FROM node").fetchall() == nodes
        assert db.execute("SELECT graph_id, nodes FROM supernode").fetchall() == [(1, "[0]")]
        db.execute("UPDATE node SET share = NULL, activation = NULL")
        db.execute("UPDATE graph SET closing_error = NULL")
        assert "graph_id INTEGER NOT NULL REFERENCES graph(id)" in str(db["node"].schema)


def test_given_a_baseline_of_an_earlier_schema_when_migrated_then_its_rows_say_what_they_said(tmp_path: Path) -> None:
    with _empty(tmp_path, "old.db") as db:
        database.migrate(db, 4)
        db.execute("PRAGMA foreign_keys = OFF")
        job = (
            "INSERT INTO job (id, kind, params, params_hash, state, created_at) VALUES (1, 'baseline', '{}', 'h', ?, ?)"
        )
        db.execute(job, ["succeeded", "2026-01-01T00:00:00.000+00:00"])
        db.execute("INSERT INTO prompt VALUES (1, 'capitals', 'capitals/0', 'c', NULL, ' Paris', NULL, NULL)")
        db.execute("INSERT INTO baseline VALUES (1, 1, 1, 'clean', '[5]', 0.5, 2, -0.25, '[]', 'and', 0, 7)")
        database.migrate(db, 5)
        assert db.execute("SELECT name, decisive, rival FROM prompt").fetchall() == [("capitals/0", " Paris", None)]
        columns = "p_decisive, rank_decisive, logit_difference, passed, seed"
        assert db.execute(f"SELECT {columns} FROM baseline").fetchall() == [(0.5, 2, -0.25, 0, 7)]
        db.execute("UPDATE baseline SET p_decisive = NULL, rank_decisive = NULL, passed = NULL")
        db.execute("UPDATE prompt SET decisive = NULL")
