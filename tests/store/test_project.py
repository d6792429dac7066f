"""Making, opening, finding and locking a project."""

import os
import subprocess
import sys
from pathlib import Path

import pysqlite3
import pytest

from store import database, jobs
from store.errors import BadInput, Damaged, Missing, WorkbenchError
from store.files import StoredFile
from store.location import locate
from store.project import Project
from tests.store.conftest import MODEL, writes


def test_a_new_project_keeps_its_model_and_opens_again(tmp_path: Path) -> None:
    Project.create(tmp_path / "deep" / "project", MODEL, "0.1.0").close()
    for write in (False, True):
        with Project.open(tmp_path / "deep" / "project", write) as project:
            assert project.model == MODEL
            assert project.writable is write
            assert project.db.execute("SELECT version FROM project").fetchone() == ("0.1.0",)


def test_a_project_is_opened_with_the_safe_settings(project: Project) -> None:
    pragmas = {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 5000}
    assert {name: project.db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas} == pragmas
    assert project.db.execute("SELECT sqlite_version()").fetchone()[0] == pysqlite3.sqlite_version


def test_an_sqlite_with_the_corruption_bug_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pysqlite3, "sqlite_version_info", (3, 51, 2))
    with pytest.raises(WorkbenchError, match=r"3\.51\.3 is the first without"):
        Project.open(project.directory, write=False)


def test_creating_over_a_project_is_refused_and_changes_nothing(project: Project) -> None:
    project.close()
    before = sorted(path.name for path in project.directory.iterdir())
    with pytest.raises(BadInput, match="already is a project"):
        Project.create(project.directory, MODEL, "9")
    assert sorted(path.name for path in project.directory.iterdir()) == before


@pytest.mark.parametrize("existing", [False, True])
def test_a_create_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    if existing:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(database, "migrations", lambda: [(1, "CREATE TABLE model (nonsense NONSENSE) STRICT;")])
    with pytest.raises(pysqlite3.OperationalError):
        Project.create(tmp_path / "a" / "b", MODEL, "0.1.0")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_create_left_does_not_disturb_the_next(tmp_path: Path) -> None:
    for name in (".project.db.creating", ".project.db.creating-journal"):
        (tmp_path / name).write_bytes(b"half a database")
    with Project.create(tmp_path, MODEL, "0.1.0") as project:
        assert project.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(tmp_path.glob(".project.db*"))


def test_a_project_where_a_file_is_in_the_way_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="no project can be made in"):
        Project.create(tmp_path / "file" / "project", MODEL, "0.1.0")


def test_opening_what_is_no_project_says_which_it_is(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=rf"no project in {tmp_path}; `workbench init DIR` makes one"):
        Project.open(tmp_path, write=True)
    for content in (b"not a database at all" * 100, b""):
        (tmp_path / "project.db").write_bytes(content)
        with pytest.raises(Damaged, match=r"project\.db"):
            Project.open(tmp_path, write=True)
        with pytest.raises(Damaged, match=r"project\.db"):
            Project.open(tmp_path, write=False)


def test_a_project_is_found_by_option_variable_or_upwards(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project.directory / "weights"
    monkeypatch.delenv("WORKBENCH_PROJECT", raising=False)
    monkeypatch.chdir(below)
    assert locate() == project.directory
    assert locate(project.directory) == project.directory
    monkeypatch.chdir(project.directory.parent)
    with pytest.raises(Missing, match=r"no project here or in any directory above; `workbench init DIR`"):
        locate()
    monkeypatch.setenv("WORKBENCH_PROJECT", str(project.directory))
    assert locate() == project.directory
    with pytest.raises(Missing, match="elsewhere"):
        locate(project.directory / "elsewhere")


def test_a_second_process_is_refused_with_the_holder_named(project: Project) -> None:
    code = (
        "import sys; from pathlib import Path; from store.project import Project; Project.open(Path(sys.argv[1]), True)"
    )
    command = [sys.executable, "-c", code, str(project.directory)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    said = second.stderr.strip().splitlines()[-1]
    assert f"is being written by process {os.getpid()} on" in said
    project.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_a_reader_reads_beside_a_writer_and_cannot_write(project: Project) -> None:
    with Project.open(project.directory, write=False) as reader:
        with project.transaction():
            project.db.execute("INSERT INTO ui_state VALUES ('pane', '1')")
            assert reader.db.execute("SELECT count(*) FROM ui_state").fetchone() == (0,)
        assert reader.db.execute("SELECT count(*) FROM ui_state").fetchone() == (1,)
        with pytest.raises(pysqlite3.OperationalError, match="readonly"):
            reader.db.execute("DELETE FROM ui_state")
        with pytest.raises(RuntimeError), reader.transaction():
            pass


def test_transactions_are_all_or_nothing_and_do_not_nest(project: Project) -> None:
    with pytest.raises(ZeroDivisionError), project.transaction():
        project.db.execute("INSERT INTO ui_state VALUES ('pane', '1')")
        _ = 1 / 0
    with project.transaction():
        project.db.execute("INSERT INTO ui_state VALUES ('tab', '2')")
        with pytest.raises(RuntimeError), project.transaction():
            pass
    assert project.db.execute("SELECT key FROM ui_state").fetchall() == [("tab",)]


def test_recording_a_file_twice_is_one_row(project: Project) -> None:
    stored = project.files.write("graphs", "graph.json", writes(b"{}"))
    with project.transaction():
        assert project.record_file(stored) == project.record_file(stored) == 1
    assert project.file(1) == stored
    with pytest.raises(Damaged, match="already recorded with other content"):
        project.record_file(StoredFile(stored.path, stored.size_bytes, "0" * 32))
    with pytest.raises(Missing, match="no file 7"):
        project.file(7)


def test_what_a_dead_writer_left_is_put_right_at_the_next_opening(project: Project) -> None:
    running = jobs.start(project.db, "train", "{}", "k")
    queued = jobs.submit(project.db, "train", "{}", "k")
    project.db.execute("UPDATE job SET state = 'cancelling' WHERE id = ?", [jobs.start(project.db, "index", "{}", "k")])
    left = project.files.write("weights", "lost.bin", writes(b"lost"))
    (project.directory / ".wal-probe-left").mkdir()
    project.close()
    with Project.open(project.directory, write=False) as reader:
        assert jobs.show(reader.db, running).state == "running"
    with Project.open(project.directory, write=True) as again:
        states = {job.id: job.state for job in jobs.listing(again.db)}
        assert states == {running: "interrupted", queued: "queued", 3: "interrupted"}
        assert jobs.events(again.db, running)[-1][1].text == "interrupted"
    assert not (project.directory / left.path).exists()
    assert not (project.directory / ".wal-probe-left").exists()


def test_without_shared_memory_the_journal_is_a_rollback_journal(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.close()
    monkeypatch.setattr(database, "_wal_works", lambda directory: False)
    with Project.open(project.directory, write=True) as again:
        assert again.db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert again.model == MODEL


@pytest.mark.parametrize(("kind", "journal"), [("nfs4", "delete"), ("lustre", "delete"), ("ext4", "wal")])
def test_a_file_system_that_other_nodes_share_gets_no_wal_though_it_works_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, journal: str
) -> None:
    device = tmp_path.stat().st_dev
    other = f"21 1 999:7 / /proc rw - {'ext4' if kind == 'nfs4' else 'nfs4'} other rw"
    here = f"36 35 {os.major(device)}:{os.minor(device)} / /home\\040of rw,noatime shared:1 - {kind} server:/home rw"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"{other}\n{here}\n", encoding="utf-8")
    assert database.file_system_of(tmp_path, mounts) == kind
    monkeypatch.setattr(database, "file_system_of", lambda _directory: kind)
    with Project.create(tmp_path / "project", MODEL, "0.1.0") as project:
        assert project.db.execute("PRAGMA journal_mode").fetchone()[0] == journal


def test_a_system_that_names_no_mounts_is_probed(tmp_path: Path) -> None:
    assert database.file_system_of(tmp_path, tmp_path / "nowhere") == ""
    assert database._wal_works(tmp_path)


def test_wal_is_not_trusted_where_the_probe_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locking_protocol(*args: object, **kwargs: object) -> None:
        raise pysqlite3.OperationalError("locking protocol")

    assert database._wal_works(tmp_path)
    monkeypatch.setattr(pysqlite3, "connect", locking_protocol)
    assert not database._wal_works(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_project_in_a_directory_that_nobody_can_write_is_readable(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with Project.open(project.directory, write=False) as reader:
        assert reader.model == MODEL
    assert not list(project.directory.glob("project.db-*"))
