"""A pack holds what another machine needs, and its numbers come out again there."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from store import database
from store.errors import BadInput, Damaged
from store.pack_format import read_header
from store.packs import verify_pack
from store.project import Project
from store.project_rows import STAYS, travelling_tables
from tasks.context import Context, SilentProgress
from tasks.packs.expected import (
    EXPECTED_NAME,
    Tolerance,
    Tolerances,
    claims_of,
    headlines,
    numbers,
    read_claims,
    write_claims,
)
from tasks.packs.surroundings import model_files
from tasks.verify import open_pack, verify_hashes, verify_numbers
from tests.tasks.packs.conftest import Packed
from tests.tasks.packs.packed_project import JOBS, changed, edited, run, verify

LONG = ("capture", "train", "index")


def _entries(pack: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(pack) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@contextmanager
def _as_project(pack: Path, directory: Path) -> Iterator[Project]:
    open_pack(pack, directory)
    with Project.open(directory, write=False) as project:
        yield project


def _dump(project: Project) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that has rows of its own, but for the packing itself and what the queue and the screen keep."""
    names = [*travelling_tables(project.db), "fires_on"]
    rows = {name: project.db.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    packing = {row[0] for row in project.db.execute("SELECT id FROM job WHERE kind = 'pack'").fetchall()}
    rows["job"] = [row for row in rows["job"] if row[0] not in packing]
    rows["job_event"] = [row for row in rows["job_event"] if row[1] not in packing]
    rows["job_memory"] = [row for row in rows["job_memory"] if row[0] not in packing]
    return {name: sorted(found, key=str) for name, found in rows.items() if name not in ("shard", "file")}


def _found(project: Project, words: str) -> list[int]:
    """The features that the index finds."""
    sql = "SELECT rowid FROM feature_fts WHERE feature_fts MATCH ? ORDER BY rowid"
    return [row[0] for row in project.db.execute(sql, [words]).fetchall()]


def test_a_pack_holds_every_part(packed: Packed) -> None:
    entries = _entries(packed.whole)
    kinds = [name.split("-", 2)[2] for name in entries if name.startswith("configs/")]
    assert sorted(kinds) == sorted(f"{kind}.json" for kind in JOBS)
    assert {"commands.sh", "session.py", "session.ipynb", "README.md", "LICENSES.md", "expected.json"} <= entries.keys()
    assert {"figures/graph-1.svg", "figures/job-3-fvu.svg", "figures/job-11-effects.svg"} <= entries.keys()
    assert {"graphs/graph-1.json", "graphs/graph-1.graphml", "tables/intervention.jsonl"} <= entries.keys()
    assert sum(name.startswith("weights/") for name in entries) == 2
    train = json.loads(next(entries[name] for name in entries if name.endswith("-train.json")))
    assert train["seed"] == 0 and train["features"] == 64 and train["learning_rate"] == 3e-3
    environment = json.loads(entries["environment.json"])
    assert environment["packages"]["torch"] and environment["device"] == "cpu"
    assert environment["determinism"]["deterministic_algorithms"] is False
    model = json.loads(entries["model.json"])
    assert model["files"]["model.safetensors"]["sha256"] and model["revision"]
    [capture] = [json.loads(line) for line in entries["tables/capture.jsonl"].splitlines()]
    readme = entries["README.md"].decode()
    assert capture["corpus_hash"] in readme and model["revision"] in readme
    assert "Layer 0 \\`decides\\` \\| \\<b\\>it\\</b\\> \\# not a heading" in readme
    assert "# not a heading" not in readme.splitlines()


def test_an_unpacked_project_has_every_row_and_finds_features(packed: Packed, tmp_path: Path) -> None:
    with _as_project(packed.whole, tmp_path / "copy") as copy, Project.open(packed.directory / "project", False) as own:
        assert _dump(copy) == _dump(own)
        word = copy.db.execute("SELECT words FROM context WHERE words != '' LIMIT 1").fetchone()[0].split()[0]
        for searched in ("label AND mine", word):
            assert _found(copy, searched) == _found(own, searched) != []


def test_every_table_travels_or_is_named_as_staying(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    db = database.connect(tmp_path / "empty.db", write=True)
    database.migrate(db)
    listed = db.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main'").fetchall()
    plain = {name for name, kind in listed if kind == "table"}
    assert plain == set(travelling_tables(db)) | (STAYS & plain)
    assert {"ui_state", "job_turn"} <= STAYS
    db.close()


def test_a_pack_that_moved_to_another_machine_is_verified_there(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "another home"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(packed.directory / "model", tmp_path / "their model")
    pack = shutil.copy(packed.whole, tmp_path / "received.zip")
    document = verify(Path(pack), model_spec=str(tmp_path / "their model"))
    assert document["verified"] and not document["altered"] and document["moved"] == 0
    outcomes = {job["kind"]: job["outcome"] for job in document["jobs"]}
    assert outcomes == {kind: "kept" if kind in LONG else "computed" for kind in JOBS}
    for job in document["jobs"]:
        assert job["outcome"] == "kept" or job["numbers"] >= 10
        for result in job["results"]:
            assert abs(result["got"] - result["expected"]) <= result["tolerance"]
    assert document["model"] == {"files": 5, "here": 5, "differing": []}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["received.zip", "their model"]


@pytest.mark.parametrize("weights", [True, False])
def test_captures_and_trainings_come_out_again_from_scratch(packed: Packed, weights: bool) -> None:
    document = verify(packed.whole if weights else packed.without_weights, from_scratch=True)
    assert document["verified"] and document["skipped"] == 0
    assert [job["kind"] for job in document["jobs"]] == list(JOBS)
    assert all(job["outcome"] == "computed" and job["numbers"] for job in document["jobs"])
    assert max(job["largest_difference"] for job in document["jobs"] if job["kind"] == "train") == 0.0


def test_a_pack_without_weights_has_their_hashes_and_skips_what_needs_them(packed: Packed, tmp_path: Path) -> None:
    header = read_header(packed.without_weights)
    assert len(header.left_out) == 2
    assert not any(name.startswith("weights/") for name in _entries(packed.without_weights))
    assert packed.without_weights.stat().st_size < packed.whole.stat().st_size
    document = verify(packed.without_weights)
    assert document["verified"] and document["left_out"] == list(header.left_out)
    skipped = {job["kind"]: job["reason"] for job in document["jobs"] if job["outcome"] == "skipped"}
    assert skipped.keys() == {"evaluate", "trace", "prune", "heads", "qk", "intervene", "validate"}
    assert set(skipped.values()) == {"the weights of sae are not in the pack"}
    with _as_project(packed.without_weights, tmp_path / "copy") as copy:
        stored = copy.file(copy.db.execute("SELECT file_id FROM dictionary").fetchone()[0])
        assert len(stored.hash) == 32
        with pytest.raises(Damaged, match="cannot be read"):
            copy.files.verify(stored)


def test_where_the_model_is_missing_hashes_are_checked_and_nothing_is_computed(packed: Packed, tmp_path: Path) -> None:
    document = verify(packed.whole, model_spec=str(tmp_path / "nowhere"))
    assert not document["verified"] and not document["computed"] and document["altered"] == []
    assert "there is no model at" in document["reason"] and document["jobs"] == []
    damaged = changed(packed.whole, tmp_path / "d.zip", lambda e: e.update({"README.md": b"better"}), mended=False)
    with pytest.raises(Damaged, match=r"'README.md' is not what the manifest says"):
        verify(damaged, model_spec=str(tmp_path / "nowhere"))


def test_what_a_job_reads_and_is_not_here_is_said(packed: Packed, tmp_path: Path) -> None:
    corpus = packed.directory / "corpus.jsonl"
    hidden = corpus.rename(tmp_path / "hidden.jsonl")
    try:
        document = verify(packed.whole)
    finally:
        hidden.rename(corpus)
    [evaluate] = [job for job in document["jobs"] if job["kind"] == "evaluate"]
    assert evaluate["outcome"] == "skipped" and "which is not on this machine" in evaluate["reason"]
    assert document["skipped"] == 1 and document["verified"]


@pytest.mark.parametrize(("field", "value"), [("format", 99), ("schema", 9999)])
def test_a_pack_of_a_newer_workbench_is_refused_by_name(packed: Packed, tmp_path: Path, field: str, value: int) -> None:
    newer = changed(
        packed.whole, tmp_path / "newer.zip", edited("pack.json", lambda d: d | {field: value, "workbench": "9.9"})
    )
    for attempt in (verify, verify_hashes, lambda pack: open_pack(pack, tmp_path / "copy")):
        with pytest.raises(BadInput, match=r"was written by workbench '9.9' .*install that workbench, or a newer one"):
            attempt(newer)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 2}', b'{"format": "2", "schema": null}', b"\xff"])
def test_a_pack_whose_header_cannot_be_read_is_refused(packed: Packed, tmp_path: Path, content: bytes) -> None:
    strange = changed(packed.whole, tmp_path / "s.zip", lambda entries: entries.update({"pack.json": content}))
    with pytest.raises(Damaged, match=r"pack.json of .* cannot be read"):
        verify_hashes(strange)
    lacking = changed(packed.whole, tmp_path / "l.zip", lambda entries: entries.pop("pack.json"))
    with pytest.raises(Damaged, match=r"has no pack.json"):
        verify_hashes(lacking)


def test_a_pack_of_an_earlier_schema_is_brought_up_to_date(packed: Packed, tmp_path: Path) -> None:
    columns = _columns_of(6)

    def of_schema_6(entries: dict[str, bytes]) -> None:
        edited("pack.json", lambda d: d | {"schema": 6})(entries)
        for name in [name for name in entries if name.startswith("tables/")]:
            rows = [json.loads(line) for line in entries.pop(name).splitlines()]
            if known := columns.get(name[7:-6]):
                kept = [{column: value for column, value in row.items() if column in known} for row in rows]
                entries[name] = "".join(json.dumps(row) + "\n" for row in kept).encode()

    older = changed(packed.whole, tmp_path / "older.zip", of_schema_6)
    with _as_project(older, tmp_path / "copy") as copy, Project.open(packed.directory / "project", False) as own:
        for table in columns:
            names = ", ".join(sorted(columns[table]))
            where = " WHERE kind != 'pack'" if table == "job" else ""
            sql = f"SELECT {names} FROM {table}{where}"
            rows = [project.db.execute(sql).fetchall() for project in (copy, own)]
            if table not in ("job_event", "job_memory", "shard", "file"):
                assert sorted(rows[0], key=str) == sorted(rows[1], key=str), table
    assert not verify(older, model_spec=str(tmp_path / "none"))["documents_compared"]


def _columns_of(schema: int) -> dict[str, set[str]]:
    import pysqlite3
    from sqlite_utils import Database

    db = Database(pysqlite3.connect(":memory:", isolation_level=None), execute_plugins=False)
    database.migrate(db, schema)
    return {table: {column.name for column in db[table].columns} for table in travelling_tables(db)}


def test_a_pack_made_where_nothing_draws_graphs_is_sound_where_something_does(packed: Packed, tmp_path: Path) -> None:
    undrawn = tmp_path / "undrawn.zip"
    with Project.open(packed.directory / "project", write=True) as project:
        run(Context(project), "pack", file=undrawn)
    assert "figures/graph-1.svg" not in _entries(undrawn)
    assert verify(undrawn, model_spec=str(tmp_path / "none"))["altered"] == []
    drawn = verify_numbers(packed.whole, str(tmp_path / "none"), None, SilentProgress(), Event())
    assert drawn["altered"] == []


def test_a_job_with_options_of_another_workbench_is_packed_and_its_numbers_are_said_to_be_skipped(
    packed: Packed, tmp_path: Path
) -> None:
    open_pack(packed.whole, tmp_path / "copy")
    with Project.open(tmp_path / "copy", write=True) as project:
        with project.transaction():
            project.db.execute("UPDATE job SET params = '{\"forgotten\": 1}' WHERE kind = 'qk'")
            project.db.execute("DELETE FROM job_memory")
        run(Context(project), "pack", file=tmp_path / "odd.zip")
    document = verify(tmp_path / "odd.zip")
    [odd] = [job for job in document["jobs"] if job["kind"] == "qk"]
    assert odd["outcome"] == "skipped" and "does not know" in odd["reason"]
    assert document["verified"] and document["skipped"] == 1


def test_quick_checks_hashes_and_computes_nothing(packed: Packed) -> None:
    document = verify_hashes(packed.whole)
    assert document["verified"] and document["files"] == len(verify_pack(packed.whole)) and "jobs" not in document


def test_claims_come_back_as_they_were_written(packed: Packed) -> None:
    with Project.open(packed.directory / "project", False) as project:
        from store import jobs

        finished = [jobs.show(project.db, number) for number in range(1, len(JOBS) + 1)]
    claims = claims_of(finished)
    tolerances = Tolerances(Tolerance(0.5, 0.25), {"part": Tolerance(1.0, 0.0)})
    assert read_claims(write_claims(claims, tolerances)) == (claims, tolerances)
    assert [claim.kind for claim in claims] == list(JOBS)
    assert json.loads(_entries(packed.whole)[EXPECTED_NAME])["jobs"][5]["kind"] == "trace"
    for content in (b"", b"{}", b'{"tolerance": {}, "jobs": 3}', b'{"tolerance":{"absolute":"x","relative":0}}'):
        with pytest.raises(Damaged, match=r"expected.json cannot be read"):
            read_claims(content)


def test_of_a_job_that_was_run_twice_the_later_claims() -> None:
    from dataclasses import replace

    from tests.store.test_packs import TRAIN

    first, second = replace(TRAIN, id=3, result={"fvu": 0.3}), replace(TRAIN, id=5, result={"fvu": 0.2})
    assert [(claim.job, claim.numbers) for claim in claims_of([second, first])] == [(5, {"fvu": 0.2})]


def test_numbers_leave_out_times_names_and_truth() -> None:
    document = {"seconds": 3.0, "fvu": 0.1, "ok": True, "rows": [{"graph": 4, "share": 2}, [1, "x"]], "none": None}
    assert dict(numbers(document)) == {"fvu": 0.1, "rows[0].share": 2.0, "rows[1][0]": 1.0}


def test_a_tolerance_is_absolute_and_relative() -> None:
    tolerance = Tolerance(0.5, 0.1)
    assert tolerance.allowed(-10.0) == 1.5
    assert tolerance.holds(-10.0, -8.5) and not tolerance.holds(-10.0, -8.49)
    assert not tolerance.holds(1.0, float("nan"))


def test_what_rests_on_the_sign_of_rounding_has_a_looser_tolerance() -> None:
    tolerances = Tolerances()
    assert tolerances.of("swaps.sign_agreement").holds(0.71, 0.86)
    assert not tolerances.of("swaps.pearson").holds(0.71, 0.86)
    assert not tolerances.of("swaps.sign_agreement").holds(0.71, 0.2)


def test_headlines_are_those_of_the_kind_or_those_highest_up() -> None:
    names = ["layers[0].fvu", "layers[1].fvu", "layers[0].l0", "layers[0].curve.fvu[3]"]
    assert headlines("train", names) == ["layers[0].fvu", "layers[1].fvu", "layers[0].l0"]
    assert headlines("other", ["a.b[0]", "z", "a.c"]) == ["z", "a.c", "a.b[0]"]


def test_a_model_that_is_not_here_has_no_hashes(packed: Packed, tmp_path: Path) -> None:
    from dataclasses import replace

    with Project.open(packed.directory / "project", False) as project:
        model = project.model
    assert len(model_files(model)) == 5
    for spec in (str(tmp_path / "gone"), "someone/not-cached", "not a name at all"):
        assert model_files(replace(model, spec=spec)) == {}
