"""The job table: keys, states, events and the result cache."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import job_memory, jobs
from store.errors import BadInput, Missing
from store.job_memory import JobMemory, memory_of
from store.project import Project
from store.project_rows import export_rows
from tests.store.conftest import MODEL, writes

DOCUMENTS = st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans(), st.none()), max_size=5)


@given(DOCUMENTS)
def test_equal_params_have_equal_keys_in_any_order(params: dict[str, object]) -> None:
    backwards = dict(reversed(params.items()))
    assert jobs.params_hash("train", json.dumps(params), "r") == jobs.params_hash("train", json.dumps(backwards), "r")


def test_whatever_decides_a_result_changes_its_key() -> None:
    keys = {
        jobs.params_hash("train", '{"k": 32}', "r"),
        jobs.params_hash("index", '{"k": 32}', "r"),
        jobs.params_hash("train", '{"k": 33}', "r"),
        jobs.params_hash("train", '{"k": "32"}', "r"),
        jobs.params_hash("train", '{"k": 32}', "r2"),
    }
    assert len(keys) == 5


def test_a_job_goes_from_running_to_succeeded_with_its_document(project: Project) -> None:
    job_id = jobs.start(project.db, "train", '{"k": 32}', "key")
    jobs.report(project.db, job_id, 0.25, "layer 3")
    assert (jobs.show(project.db, job_id).progress, jobs.show(project.db, job_id).note) == (0.25, "layer 3")
    jobs.succeed(project.db, job_id, {"fvu": 0.1}, elapsed_s=2.0, cpu_s=3.0)
    job = jobs.show(project.db, job_id)
    assert (job.kind, job.params, job.state, job.result) == ("train", {"k": 32}, "succeeded", {"fvu": 0.1})
    assert (job.elapsed_s, job.cpu_s, job.progress) == (2.0, 3.0, 1.0)
    assert job.started_at and job.finished_at and job.created_at <= job.started_at <= job.finished_at
    assert [event.text for _, event in jobs.events(project.db, job_id)] == ["running", "succeeded"]
    jobs.report(project.db, job_id, 0.5, "late")
    assert jobs.show(project.db, job_id).progress == 1.0


def test_an_ended_job_stays_as_it_ended(project: Project) -> None:
    job_id = jobs.start(project.db, "train", "{}", "key")
    jobs.finish(project.db, job_id, "failed", "no luck; try again", 1.0, 1.0)
    with pytest.raises(RuntimeError, match="has ended before"):
        jobs.succeed(project.db, job_id, {}, 1.0, 1.0)
    job = jobs.show(project.db, job_id)
    assert (job.state, job.error, job.result) == ("failed", "no luck; try again", None)


def test_progress_outside_its_range_is_bounded(project: Project) -> None:
    job_id = jobs.start(project.db, "train", "{}", "key")
    for reported, kept in ((1.2, 1.0), (-0.1, 0.0)):
        jobs.report(project.db, job_id, reported, "")
        assert jobs.show(project.db, job_id).progress == kept


def test_the_cache_gives_the_latest_success_and_nothing_else(project: Project) -> None:
    assert jobs.cached(project.db, "key") is None
    ids = [jobs.start(project.db, "train", "{}", "key") for _ in range(4)]
    jobs.succeed(project.db, ids[0], {"n": 0}, 1, 1)
    jobs.succeed(project.db, ids[1], {"n": 1}, 1, 1)
    jobs.finish(project.db, ids[2], "failed", "x; y", 1, 1)
    found = jobs.cached(project.db, "key")
    assert found and (found.id, found.result) == (ids[1], {"n": 1})
    assert jobs.cached(project.db, "other") is None


def test_events_are_read_from_the_last_one_seen(project: Project) -> None:
    job_id = jobs.submit(project.db, "train", "{}", "key")
    [(seen, first)] = jobs.events(project.db, job_id)
    assert (first.kind, first.text) == ("state", "queued")
    jobs.add_event(project.db, job_id, "warning", "loss is not falling")
    assert [event.text for _, event in jobs.events(project.db, job_id, after=seen)] == ["loss is not falling"]


def test_a_withdrawn_job_leaves_no_trace_unless_rows_refer_to_it(project: Project) -> None:
    job_id = jobs.start(project.db, "train", "{}", "key")
    jobs.withdraw(project.db, job_id, "bad; mend")
    assert jobs.listing(project.db) == []
    assert project.db.execute("SELECT count(*) FROM job_event").fetchone() == (0,)
    kept = jobs.start(project.db, "intervene", "{}", "key")
    project.db.execute("INSERT INTO intervention VALUES (1, ?, '', '', '', '')", [kept])
    jobs.withdraw(project.db, kept, "bad; mend")
    assert (jobs.show(project.db, kept).state, jobs.show(project.db, kept).error) == ("failed", "bad; mend")


def test_a_document_that_json_cannot_hold_leaves_the_job_running(project: Project) -> None:
    job_id = jobs.start(project.db, "train", "{}", "key")
    with pytest.raises(ValueError):
        jobs.succeed(project.db, job_id, {"fvu": float("nan")}, 1, 1)
    assert jobs.show(project.db, job_id).state == "running"


def test_a_job_that_is_not_there_is_said_in_one_line(project: Project) -> None:
    with pytest.raises(Missing, match="no job 5 in this project; `workbench jobs list`"):
        jobs.show(project.db, 5)


def test_a_job_still_stands_until_its_rows_point_elsewhere(project: Project) -> None:
    job_id = jobs.start(project.db, "train", "{}", "key")
    stored = [project.files.write("weights", "sae.bin", writes(n)) for n in (b"1", b"2")]
    with project.transaction():
        first, second = (project.record_file(one) for one in stored)
        project.db.execute(
            "INSERT INTO dictionary (job_id, name, kind, layer, n_features, objective, file_id, config, metrics)"
            " VALUES (?, 'd', 'sae', 3, 8, 'topk', ?, '{}', '{}')",
            [job_id, first],
        )
        jobs.succeed(project.db, job_id, {}, 1, 1)
    assert jobs.files_of(project.db, job_id) == [stored[0]]
    assert jobs.still_stands(project.db, job_id)
    project.db.execute("UPDATE dictionary SET file_id = ?", [second])
    assert not jobs.still_stands(project.db, job_id)


def test_queued_jobs_are_claimed_oldest_first_and_each_once(project: Project) -> None:
    ids = [jobs.submit(project.db, "train", "{}", "key") for _ in range(3)]
    assert [job.id for job in jobs.queue(project.db)] == ids
    assert jobs.claim(project.db, pid=7, after=ids[0]) == ids[1]
    assert [jobs.claim(project.db, pid=7) for _ in range(3)] == [ids[0], ids[2], None]
    job = jobs.show(project.db, ids[0])
    assert (job.state, job.pid) == ("running", 7)
    assert job.started_at
    assert [event.text for _, event in jobs.events(project.db, job.id)] == ["queued", "running"]


def test_a_cancel_ends_what_waits_and_asks_what_runs(project: Project) -> None:
    running, waiting = (jobs.submit(project.db, "train", "{}", "key") for _ in range(2))
    jobs.claim(project.db, pid=7)
    assert jobs.ask_cancel(project.db, waiting) == "cancelled"
    assert jobs.ask_cancel(project.db, running) == jobs.ask_cancel(project.db, running) == "cancelling"
    jobs.finish(project.db, running, "cancelled", "stopped; again")
    with pytest.raises(BadInput, match=f"job {running} has ended already .cancelled."):
        jobs.ask_cancel(project.db, running)
    with pytest.raises(Missing, match="no job 99"):
        jobs.ask_cancel(project.db, 99)
    assert jobs.claim(project.db, pid=7) is None


def test_a_retry_is_the_same_work_from_the_same_place_under_a_new_id(project: Project) -> None:
    first = jobs.submit(project.db, "train", '{"k": 32}', "key", "/home/somebody")
    with pytest.raises(BadInput, match=f"job {first} is queued"):
        jobs.retry(project.db, first)
    jobs.ask_cancel(project.db, first)
    again = jobs.show(project.db, jobs.retry(project.db, first))
    assert (again.kind, again.params, again.state) == ("train", {"k": 32}, "queued")
    assert jobs.said(project.db, again.id, jobs.ORIGIN) == "/home/somebody"
    assert [job.state for job in jobs.listing(project.db)] == ["queued", "cancelled"]


def test_news_are_the_events_of_all_jobs_since_the_last_seen(project: Project) -> None:
    first, second = (jobs.submit(project.db, "train", "{}", "key") for _ in range(2))
    seen = jobs.last_event_id(project.db)
    jobs.claim(project.db, pid=7)
    jobs.ask_cancel(project.db, second)
    told = [(job_id, event.text) for _, job_id, event in jobs.news(project.db, seen)]
    assert told == [(first, "running"), (second, "cancelled")]


def test_what_is_usual_is_the_mean_of_the_last_five_that_succeeded(project: Project) -> None:
    assert jobs.usual_seconds(project.db, "train") is None
    for elapsed_s in (100.0, 1.0, 2.0, 3.0, 4.0, 5.0):
        jobs.succeed(project.db, jobs.start(project.db, "train", "{}", "key"), {}, elapsed_s, 0.0)
    jobs.finish(project.db, jobs.start(project.db, "train", "{}", "key"), "failed", "x; y", 50.0, 0.0)
    assert jobs.usual_seconds(project.db, "train") == 3.0


def test_when_a_jobs_rows_travel_the_place_it_was_asked_from_stays(project: Project) -> None:
    job_id = jobs.submit(project.db, "train", "{}", "key", "/home/somebody")
    jobs.claim(project.db, pid=7)
    jobs.succeed(project.db, job_id, {}, 1.0, 1.0)
    events = export_rows(project.db, activations=False)["job_event"]
    assert [event["text"] for event in events] == ["queued", "running", "succeeded"]


def test_a_moved_job_is_taken_where_it_was_put_and_new_ones_come_last(project: Project) -> None:
    a, b, c = (jobs.submit(project.db, "train", "{}", "key") for _ in range(3))
    assert jobs.move(project.db, c) == [c, a, b]
    assert jobs.move(project.db, a, after=b) == [c, b, a]
    d = jobs.submit(project.db, "train", "{}", "key")
    assert [job.id for job in jobs.queue(project.db)] == [c, b, a, d]
    assert jobs.move(project.db, d, after=c) == [c, d, b, a]
    assert [jobs.claim(project.db, pid=7) for _ in range(5)] == [c, d, b, a, None]
    assert [event.text for _, event in jobs.events(project.db, d) if event.kind == "moved"] == [f"after job {c}"]


def test_a_job_that_does_not_wait_cannot_be_moved(project: Project) -> None:
    running, waiting = (jobs.submit(project.db, "train", "{}", "key") for _ in range(2))
    jobs.claim(project.db, pid=7)
    for job_id, after, fault in (
        (running, None, f"job {running} does not wait in the queue .running."),
        (waiting, running, f"job {running} does not wait in the queue .running."),
        (waiting, waiting, f"job {waiting} cannot come after itself"),
    ):
        with pytest.raises(BadInput, match=fault):
            jobs.move(project.db, job_id, after)
    with pytest.raises(Missing, match="no job 99"):
        jobs.move(project.db, 99)
    assert [job.id for job in jobs.queue(project.db)] == [waiting]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5) | st.none()), max_size=8))
def test_moves_are_those_of_a_list(moves: list[tuple[int, int | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Project.create(Path(folder) / "p", MODEL, "0.1.0") as project:
        ids = [jobs.submit(project.db, "train", "{}", "key") for _ in range(6)]
        twin = list(ids)
        for moved, after in moves:
            if moved != after:
                twin.remove(ids[moved])
                twin.insert(0 if after is None else twin.index(ids[after]) + 1, ids[moved])
                jobs.move(project.db, ids[moved], None if after is None else ids[after])
        assert [job.id for job in jobs.queue(project.db)] == twin


def test_memory_is_what_was_expected_beside_what_was_taken(project: Project) -> None:
    job_id = jobs.start(project.db, "train", "{}", "key")
    assert memory_of(project.db, job_id) == JobMemory()
    job_memory.expect(project.db, job_id, 1000)
    assert memory_of(project.db, job_id) == JobMemory(1000)
    job_memory.took(project.db, job_id, 900, None)
    assert memory_of(project.db, job_id) == JobMemory(1000, 900, None)
    jobs.withdraw(project.db, job_id, "bad; mend")
    assert memory_of(project.db, job_id) == JobMemory()
