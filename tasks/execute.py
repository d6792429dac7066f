"""Running a task: the job row before, the work, and then its rows with its `succeeded` in one transaction."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pysqlite3
from pydantic import ValidationError

from store import job_curves, jobs
from store.errors import BadInput, Cancelled, Damaged, Missing, WorkbenchError
from store.files import is_disk_full, release_ballast
from store.json_numbers import finite
from store.project import Project
from tasks.context import Context, ProgressSink
from tasks.job_watch import JobWatch
from tasks.memory_use import is_out_of_memory
from tasks.params import Params
from tasks.registry import Task, task

_SECONDS_BETWEEN_REPORTS = 1.0
_LONGEST_REASON = 200
_MEND_MEMORY = "take fewer layers, tokens or nodes, or a smaller batch"


def execute(kind: str, params: Params, context: Context, reuse: bool = False) -> dict[str, Any]:
    """Run the task `kind` as a job of this process and return its JSON document.

    The document is what the task's `Result.save` returned, with `job` (its id) and `seconds` (wall time of the run,
    unless the task counted its own); numbers that are not finite are null. With `reuse`, the document of an earlier job
    with the same params and model is returned if every file that it left is still sound and the dictionaries that its
    params name are still the same. Bad input leaves no job behind; any other end is in the job's row.
    """
    project, work = context.project, task(kind)
    params_json, key = _request(kind, params, project)
    if reuse and (earlier := _sound_document(project, key)) is not None:
        return earlier
    with _Run(project, _started(project, kind, params_json, key)) as run:
        return _work(run, work, params, context)


def _started(project: Project, kind: str, params_json: str, key: str) -> int:
    """The id of a new job's row; `WorkbenchError` if the disk has no room even for that."""
    try:
        return jobs.start(project.db, kind, params_json, key)
    except pysqlite3.OperationalError as error:
        if not is_disk_full(error):
            raise
        raise _no_room(project) from error


def earlier_document(kind: str, params: Params, project: Project) -> dict[str, Any] | None:
    """The document of an earlier job with the same params and model, if it still stands; None if there is none."""
    return _sound_document(project, _request(kind, params, project)[1])


def enqueue(kind: str, params: Params, project: Project, origin: Path) -> int:
    """Queue the task `kind` for a worker and return the job's id; relative paths in `params` start at `origin`.

    Raises `BadInput` if the name of that directory is no text.
    """
    try:
        str(origin).encode()
    except UnicodeEncodeError as error:
        fault = f"the name of the directory {origin} is not UTF-8, and a job remembers where it was asked for"
        raise BadInput(fault, "go to another directory and ask again") from error
    return jobs.submit(project.db, task(kind).kind, *_request(kind, params, project), str(origin))


def run_claimed(
    job_id: int, context: Context, stopped_as: Callable[[], jobs.Ended], interrupted: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Run a job that was queued and is `running` now, as `execute` would have; its document.

    Whatever goes wrong stays in its row, bad input too, with the exit code for whoever waits. `stopped_as` says what a
    job becomes that is asked to stop: `cancelled` if a person asked, `interrupted` if the worker has to end. Whatever
    error comes after it was `interrupted` in the middle of a step is that stop.
    """
    project = context.project
    with _Run(project, job_id, queued=True, stopped_as=stopped_as, interrupted=interrupted) as run:
        job = jobs.show(project.db, job_id)
        work = task(job.kind)
        return _work(run, work, _stored_params(work, job), context)


def _work(run: _Run, work: Task, params: Params, context: Context) -> dict[str, Any]:
    """Do the work of a running job; its rows and its `succeeded` are one transaction."""
    project = context.project
    with context.saving(), _progress_to_row(context, run.job_id), run.watch.over(work.kind, params, context):
        result = work.run(params, context)
        with project.transaction():
            saved = result.save(project, run.job_id)
            document: dict[str, Any] = finite({"seconds": run.elapsed_s} | saved | {"job": run.job_id})
            jobs.succeed(project.db, run.job_id, document, run.elapsed_s, run.cpu_s)
            run.watch.write_peak()
    return document


def _request(kind: str, params: Params, project: Project) -> tuple[str, str]:
    """The params as JSON, and the key of their result."""
    params_json = json.dumps(params.model_dump(mode="json"), sort_keys=True)
    return params_json, jobs.params_hash(kind, params_json, project.model.revision)


def _stored_params(work: Task, job: jobs.Job) -> Params:
    """The params of a row; `BadInput` if this workbench's task does not take them."""
    try:
        return work.params_type.model_validate(job.params)
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"job {job.id} has params that {job.kind} does not take ({first['loc']}: {first['msg']})"
        raise BadInput(fault, f"ask again: `workbench {' '.join(work.words)} --help`") from error


@dataclass
class _Run:
    """The time of one run; on leaving with an error, the job's row says how it ended and the error goes on."""

    project: Project
    job_id: int
    queued: bool = False
    """Whether the job's row was there before, so that it stays whatever happens."""
    stopped_as: Callable[[], jobs.Ended] = lambda: "cancelled"
    interrupted: Callable[[], bool] = lambda: False
    watch: JobWatch = field(init=False)
    _started: float = field(default_factory=time.monotonic)
    _cpu_started: float = field(default_factory=time.process_time)

    def __post_init__(self) -> None:
        """Begin to look after the job."""
        self.watch = JobWatch(self.project, self.job_id)

    @property
    def elapsed_s(self) -> float:
        """Wall time so far."""
        return time.monotonic() - self._started

    @property
    def cpu_s(self) -> float:
        """Processor time of all threads so far."""
        return time.process_time() - self._cpu_started

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            return
        if is_disk_full(error):
            release_ballast(self.project.directory)
        self.project.sweep()
        told = _told(error, self.project, self.watch.estimated_bytes)
        self._end(error, _line_of(KeyboardInterrupt() if self.interrupted() else told))
        if told is not error:
            raise told from error

    def _end(self, error: BaseException, line: str) -> None:
        """Write how the job ended."""
        db = self.project.db
        stopped = isinstance(error, Cancelled | KeyboardInterrupt) or self.interrupted()
        if isinstance(error, BadInput | Missing) and not self.queued:
            jobs.withdraw(db, self.job_id, line)
            return
        if self.queued:
            code = 130 if stopped else error.exit_code if isinstance(error, WorkbenchError) else 1
            jobs.add_event(db, self.job_id, jobs.EXIT, str(code))
        state = self.stopped_as() if stopped else "failed"
        self.watch.write_peak()
        jobs.finish(db, self.job_id, state, line, self.elapsed_s, self.cpu_s)


def _line_of(error: BaseException) -> str:
    """What a job's row says of its end."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped in the middle of a step; run the same command again"
    return str(error) if isinstance(error, WorkbenchError) else f"{type(error).__name__}: {error}"


def _no_room(project: Project) -> WorkbenchError:
    fault = f"no room left on the disk of {project.directory}"
    return WorkbenchError(fault, "make room and run the same command again")


def _told(error: BaseException, project: Project, estimated_bytes: int | None) -> BaseException:
    """What a person is told of an error: what the machine lacks, in place of what a library says of it."""
    if is_disk_full(error):
        return _no_room(project)
    if is_out_of_memory(error):
        first = (str(error).splitlines() or [""])[0][:_LONGEST_REASON]
        fault = error.fault if isinstance(error, WorkbenchError) else first or type(error).__name__
        expected = "" if estimated_bytes is None else f", {estimated_bytes / 2**30:.2f} GiB beside the model expected"
        mend = error.mend if isinstance(error, WorkbenchError) else _MEND_MEMORY
        return WorkbenchError(f"out of memory ({fault}{expected})", mend)
    return error


@dataclass
class JobProgress:
    """A sink that passes everything on and writes it to the job's row, at most once a second.

    The row's progress is that of the outermost stage, its note the innermost stage's label.
    """

    inner: ProgressSink
    report: Callable[[float, str], None]
    clock: Callable[[], float] = time.monotonic
    _stages: list[_StageSoFar] = field(default_factory=list)
    _reported_at: float = -math.inf

    def begin(self, label: str, total: float, unit: str) -> None:
        """Start the stage `label` of `total` units of work."""
        self._stages.append(_StageSoFar(label, total))
        self.inner.begin(label, total, unit)
        self._report_sometimes()

    def advance(self, amount: float) -> None:
        """Add `amount` units to the current stage."""
        self._stages[-1].done += amount
        self.inner.advance(amount)
        self._report_sometimes()

    def end(self) -> None:
        """End the current stage."""
        self._stages.pop()
        self.inner.end()

    def note(self, text: str) -> None:
        """Say one line of narration."""
        self.inner.note(text)

    def _report_sometimes(self) -> None:
        at = self.clock()
        if at - self._reported_at >= _SECONDS_BETWEEN_REPORTS:
            self._reported_at = at
            outermost = self._stages[0]
            self.report(outermost.done / outermost.total if outermost.total else 0.0, self._stages[-1].label)


@dataclass
class _StageSoFar:
    label: str
    total: float
    done: float = 0.0


@contextmanager
def _progress_to_row(context: Context, job_id: int) -> Iterator[None]:
    """For as long as the block lasts, the context's progress and its curves also go to the job's rows."""
    inner = context.progress
    db = context.project.db
    context.progress = JobProgress(inner, lambda progress, note: jobs.report(db, job_id, progress, note))
    context.keep_point = lambda curve, values: job_curves.add_point(db, job_id, curve, values)
    try:
        yield
    finally:
        context.progress, context.keep_point = inner, None


def _sound_document(project: Project, key: str) -> dict[str, Any] | None:
    """The document of an earlier job with that key, if what it left is still there and unharmed."""
    job = jobs.cached(project.db, key)
    if job is None or job.result is None or not jobs.still_stands(project.db, job.id):
        return None
    try:
        for stored in jobs.files_of(project.db, job.id):
            project.files.verify(stored)
    except Damaged:
        return None
    return job.result
