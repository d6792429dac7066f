"""The job table: what was asked for, how far it is, how it ended. Every other channel only announces what it says."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

import pysqlite3
import xxhash

from store.errors import BadInput, Missing
from store.files import StoredFile

if TYPE_CHECKING:
    from sqlite_utils import Database

State = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "interrupted"]
"""`interrupted`: its process died before it could say how it ended."""
Ended = Literal["succeeded", "failed", "cancelled", "interrupted"]
"""The states that a job stays in."""
ENDED: tuple[Ended, ...] = get_args(Ended)

ORIGIN = "origin"
"""The event that says in which directory a job was asked for: relative paths in its params start there."""
EXIT = "exit"
"""The event that says with which exit code a job failed that nobody may have been waiting for."""
_GROUND = "ground"
_LARGEST_ID = 2**63 - 1
_QUEUED = "FROM job LEFT JOIN job_turn ON job_turn.job_id = job.id WHERE state = 'queued'"
_IN_TURN = "ORDER BY turn IS NULL, turn, id"
_FILES_OF_JOB = """
    SELECT path, size_bytes, hash FROM file WHERE id IN (
        SELECT shard.file_id FROM shard JOIN capture ON capture.id = shard.capture_id WHERE capture.job_id = :job
        UNION SELECT file_id FROM dictionary WHERE job_id = :job
        UNION SELECT file_id FROM graph WHERE job_id = :job
    ) ORDER BY path"""


@dataclass(frozen=True)
class Job:
    """One row of the job table; JSON columns are read. Times are ISO 8601 UTC, `progress` is in [0, 1]."""

    id: int
    kind: str
    params: dict[str, Any]
    state: State
    progress: float
    note: str
    result: dict[str, Any] | None
    error: str | None
    pid: int | None
    host: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    elapsed_s: float | None
    cpu_s: float | None


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job: a change of state, a step of a cancel, a warning, a move in the queue, where it
    was asked for, its exit code, or what its result rests on."""

    at: str
    kind: str
    text: str


def now() -> str:
    """This moment as ISO 8601 UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def params_hash(kind: str, params_json: str, model_revision: str) -> str:
    """The key of the result cache: 32 hex digits over the kind, the params in any order, and the model's revision.

    What the params name and the key does not hold, `still_stands` checks.
    """
    parts = json.dumps([kind, json.loads(params_json), model_revision], sort_keys=True)
    return xxhash.xxh3_128(parts.encode()).hexdigest()


def submit(db: Database, kind: str, params_json: str, key: str, origin: str = "") -> int:
    """Insert a `queued` job and return its id; relative paths in its params start at the directory `origin`."""
    with db.atomic():
        job_id = _insert(db, kind, params_json, key, "queued")
        if origin:
            add_event(db, job_id, ORIGIN, origin)
    return job_id


def claim(db: Database, pid: int, after: int = 0) -> int | None:
    """Make the first queued job with an id over `after` `running` in process `pid`; its id, or None if none waits.

    Only for the holder of the project's lock.
    """
    with db.atomic():
        claimed = db.execute(
            "UPDATE job SET state = 'running', pid = ?, host = ?, started_at = ? WHERE state = 'queued' AND id ="
            f" (SELECT id {_QUEUED} AND id > ? {_IN_TURN} LIMIT 1) RETURNING id",
            [pid, socket.gethostname(), now(), after],
        ).fetchall()
        for (job_id,) in claimed:
            add_event(db, job_id, "state", "running")
    return int(claimed[0][0]) if claimed else None


def move(db: Database, job_id: int, after: int | None = None) -> list[int]:
    """Put a queued job first, or right behind the queued job `after`; the ids of all that wait, as they are taken now.

    Raises `Missing` for a job that is not there and `BadInput` for one that does not wait.
    """
    with db.atomic():
        order = [job.id for job in queue(db)]
        for each in (job_id, after):
            if each is not None and each not in order:
                state = show(db, each).state
                raise BadInput(
                    f"job {each} does not wait in the queue ({state})", "`workbench jobs list` shows which do"
                )
        if after == job_id:
            raise BadInput(f"job {job_id} cannot come after itself", "name another queued job")
        order.remove(job_id)
        order.insert(0 if after is None else order.index(after) + 1, job_id)
        db.execute("DELETE FROM job_turn")
        db.conn.executemany("INSERT INTO job_turn VALUES (?, ?)", [(each, turn) for turn, each in enumerate(order)])
        add_event(db, job_id, "moved", "first" if after is None else f"after job {after}")
    return order


def ask_cancel(db: Database, job_id: int) -> State:
    """Ask for a job's end and return its state now: `cancelled` if it was still queued, else `cancelling`.

    Raises `Missing` for a job that is not there and `BadInput` for one that has ended.
    """
    with db.atomic():
        asked = db.execute("UPDATE job SET state = 'cancelling' WHERE id = ? AND state = 'running'", [job_id]).rowcount
        if asked:
            add_event(db, job_id, "state", "cancelling")
            return "cancelling"
        state = show(db, job_id).state
        if state == "queued":
            _end(db, job_id, "cancelled", "cancelled before it started", None, None)
            return "cancelled"
    if state != "cancelling":
        raise BadInput(f"job {job_id} has ended already ({state})", "`workbench jobs list` shows what runs")
    return state


def retry(db: Database, job_id: int) -> int:
    """Queue the work of an ended job once more, as a job of its own, and return its id."""
    job = show(db, job_id)
    if job.finished_at is None:
        raise BadInput(f"job {job_id} is {job.state}", "wait for it, or `workbench jobs cancel` it first")
    [(key,)] = db.execute("SELECT params_hash FROM job WHERE id = ?", [job_id]).fetchall()
    return submit(db, job.kind, json.dumps(job.params, sort_keys=True), key, said(db, job_id, ORIGIN))


def start(db: Database, kind: str, params_json: str, key: str) -> int:
    """Insert a job that this process runs from now on and return its id."""
    return _insert(db, kind, params_json, key, "running")


def report(db: Database, job_id: int, progress: float, note: str) -> None:
    """Write how far a running job is: `progress` in [0, 1] of the stage `note`. At most once a second, please."""
    bounded = min(max(progress, 0.0), 1.0)
    db.execute("UPDATE job SET progress = ?, note = ? WHERE id = ? AND finished_at IS NULL", [bounded, note, job_id])


def add_event(db: Database, job_id: int, kind: str, text: str) -> None:
    """Write what happened to a job: `kind` is state, cancel, warning, moved, origin, exit, ground or point."""
    db.execute("INSERT INTO job_event (job_id, at, kind, text) VALUES (?, ?, ?, ?)", [job_id, now(), kind, text])


def succeed(db: Database, job_id: int, document: dict[str, Any], elapsed_s: float, cpu_s: float) -> None:
    """Mark a job `succeeded` with its JSON document. Call it in the transaction that writes the job's rows."""
    text = json.dumps(document, allow_nan=False)
    with db.atomic():
        _end(db, job_id, "succeeded", "", elapsed_s, cpu_s)
        db.execute("UPDATE job SET result = ?, progress = 1 WHERE id = ?", [text, job_id])
        for line in _ground(db, job_id):
            add_event(db, job_id, _GROUND, line)


def finish(
    db: Database, job_id: int, state: Ended, line: str, elapsed_s: float | None = None, cpu_s: float | None = None
) -> None:
    """Mark a job as ended without a result; `line` is what the person was told, the times None if nobody knows."""
    with db.atomic():
        _end(db, job_id, state, line, elapsed_s, cpu_s)


def withdraw(db: Database, job_id: int, line: str) -> None:
    """Take back a job that turned out to be bad input: no row stays, unless others already refer to it."""
    try:
        db.execute("DELETE FROM job WHERE id = ?", [job_id])
    except pysqlite3.IntegrityError:
        finish(db, job_id, "failed", line, 0.0, 0.0)


def interrupt_abandoned(db: Database) -> int:
    """Mark jobs whose process is gone as `interrupted`; only for the holder of the project's lock. Returns how many."""
    left = [row[0] for row in db.execute("SELECT id FROM job WHERE state IN ('running', 'cancelling')").fetchall()]
    with db.atomic():
        for job_id in left:
            line = f"its process ended before the job did; `workbench jobs retry {job_id}` goes on"
            _end(db, job_id, "interrupted", line, None, None)
    return len(left)


def listing(db: Database, limit: int = 100) -> list[Job]:
    """The latest jobs, newest first."""
    return [_job(row) for row in db.query("SELECT * FROM job ORDER BY id DESC LIMIT ?", [limit])]


def show(db: Database, job_id: int) -> Job:
    """One job; `Missing` if there is none of that id."""
    if abs(job_id) <= _LARGEST_ID:
        for row in db.query("SELECT * FROM job WHERE id = ?", [job_id]):
            return _job(row)
    raise Missing(f"no job {job_id} in this project", "`workbench jobs list` shows the jobs there are")


def events(db: Database, job_id: int, after: int = 0) -> list[tuple[int, JobEvent]]:
    """What happened to a job, oldest first, as (event id, event), from the event after the one with id `after`."""
    sql = "SELECT id, at, kind, text FROM job_event WHERE job_id = ? AND id > ? ORDER BY id"
    return [(row[0], JobEvent(*row[1:])) for row in db.execute(sql, [job_id, after]).fetchall()]


def news(db: Database, after: int) -> list[tuple[int, int, JobEvent]]:
    """What happened to any job since the event with id `after`, oldest first, as (event id, job id, event)."""
    sql = "SELECT id, job_id, at, kind, text FROM job_event WHERE id > ? ORDER BY id"
    return [(row[0], row[1], JobEvent(*row[2:])) for row in db.execute(sql, [after]).fetchall()]


def last_event_id(db: Database) -> int:
    """The id of the newest event of any job; 0 if there is none."""
    [(newest,)] = db.execute("SELECT coalesce(max(id), 0) FROM job_event").fetchall()
    return int(newest)


def queue(db: Database) -> list[Job]:
    """The jobs that wait, in the order in which they are taken: those that were moved, then the others by age."""
    return [_job(row) for row in db.query(f"SELECT job.* {_QUEUED} {_IN_TURN}")]


def usual_seconds(db: Database, kind: str) -> float | None:
    """The mean wall time of the last five jobs of that kind that succeeded; None if none did."""
    sql = "SELECT elapsed_s FROM job WHERE kind = ? AND state = 'succeeded' ORDER BY id DESC LIMIT 5"
    [(mean_s,)] = db.execute(f"SELECT avg(elapsed_s) FROM ({sql})", [kind]).fetchall()
    return None if mean_s is None else float(mean_s)


def last_id(db: Database) -> int:
    """The id of the newest job; 0 if there is none."""
    [(newest,)] = db.execute("SELECT coalesce(max(id), 0) FROM job").fetchall()
    return int(newest)


def said(db: Database, job_id: int, kind: str) -> str:
    """The text of a job's last event of that kind; empty if there is none."""
    sql = "SELECT text FROM job_event WHERE job_id = ? AND kind = ? ORDER BY id DESC LIMIT 1"
    return "".join(row[0] for row in db.execute(sql, [job_id, kind]).fetchall())


def cached(db: Database, key: str) -> Job | None:
    """The latest job that succeeded with that `params_hash`, if any."""
    sql = "SELECT * FROM job WHERE params_hash = ? AND state = 'succeeded' ORDER BY id DESC LIMIT 1"
    return next((_job(row) for row in db.query(sql, [key])), None)


def files_of(db: Database, job_id: int) -> list[StoredFile]:
    """The files that the rows of a job refer to now: shards, dictionaries, graphs."""
    return [StoredFile(*row) for row in db.execute(_FILES_OF_JOB, {"job": job_id}).fetchall()]


def still_stands(db: Database, job_id: int) -> bool:
    """Whether all that a succeeded job's result rests on is as it was when the job ended.

    That is the files that its rows refer to, the dictionaries of the sets that its params name, whether it read them or
    made them (a set that was trained again since is another one), and the members of the supernodes that its params
    name. The files' content is not read here.
    """
    return _ground(db, job_id) == [event.text for _, event in events(db, job_id) if event.kind == _GROUND]


def _ground(db: Database, job_id: int) -> list[str]:
    """A line for each file of a job, for each dictionary of a set and for each supernode that its params name."""
    files = [f"file {stored.hash} {stored.path}" for stored in files_of(db, job_id)]
    params = show(db, job_id).params
    named = sorted(set(_strings(params)))
    rows = db.execute(
        "SELECT layer, hash, coalesce(job_id, 0), name FROM dictionary JOIN file ON file.id = file_id"
        f" WHERE name IN ({', '.join('?' * len(named))}) ORDER BY name, layer",
        named,
    ).fetchall()
    files += [f"dictionary L{layer} {digest} of job {maker} {name}" for layer, digest, maker, name in rows]
    return files + _supernode_ground(db, params.get("graph"), named)


def _supernode_ground(db: Database, graph: Any, named: list[str]) -> list[str]:
    """A line for each supernode of the graph that occurs in one of the strings, plain or in quotes."""
    if not isinstance(graph, int):
        return []
    sql = "SELECT name, nodes FROM supernode WHERE graph_id = ? ORDER BY name"
    return [
        f"supernode {nodes} of graph {graph} {name}"
        for name, nodes in db.execute(sql, [graph]).fetchall()
        if any(name in text or json.dumps(name) in text for text in named)
    ]


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON document's values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _insert(db: Database, kind: str, params_json: str, key: str, state: State) -> int:
    """Insert a job in its first state."""
    at = now()
    started = [os.getpid(), socket.gethostname(), at] if state == "running" else [None, None, None]
    with db.atomic():
        cursor = db.execute(
            "INSERT INTO job (kind, params, params_hash, state, created_at, pid, host, started_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [kind, params_json, key, state, at, *started],
        )
        job_id = int(cursor.lastrowid or 0)
        add_event(db, job_id, "state", state)
    return job_id


def _end(db: Database, job_id: int, state: Ended, line: str, elapsed_s: float | None, cpu_s: float | None) -> None:
    """Move a job that has not ended into one of the states it stays in."""
    changed = db.execute(
        "UPDATE job SET state = ?, error = ?, finished_at = ?, elapsed_s = ?, cpu_s = ?"
        " WHERE id = ? AND state IN ('queued', 'running', 'cancelling')",
        [state, line or None, now(), elapsed_s, cpu_s, job_id],
    ).rowcount
    if changed != 1:
        raise RuntimeError(f"job {job_id} has ended before and cannot become {state}")
    add_event(db, job_id, "state", state)


def _job(row: dict[str, Any]) -> Job:
    """A row with its JSON read."""
    fields = {name: row[name] for name in Job.__dataclass_fields__}
    fields["params"] = json.loads(row["params"])
    fields["result"] = json.loads(row["result"]) if row["result"] else None
    return Job(**fields)
