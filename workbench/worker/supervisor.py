"""The supervisor: takes queued jobs one after the other, hands them to the model child, and outlives whatever it does.

It holds the project's lock for life, loads no torch, and writes to the job table only what the child cannot say itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pysqlite3

from store import jobs
from store.location import DATABASE_NAME
from store.project import Project
from workbench.worker.answers import Answers
from workbench.worker.engine import CHILD_MODULE, Engine
from workbench.worker.job_lines import event_lines, note_line, progress_line, started_line
from workbench.worker.runtime_directory import address_of
from workbench.worker.server import Server
from workbench.worker.stages import Snapshot

_SECONDS_BETWEEN_LOOKS = 1.0
_LONGEST_WAIT_FOR_CHILD_S = 30.0
_NOTES_KEPT = 200
NOTHING_RESIDENT: Mapping[str, Any] = {"model": None, "dictionaries": {}, "budget_bytes": None, "device_bytes": None}
"""What a child holds that has loaded nothing."""
logger = logging.getLogger("workbench.worker")


@dataclass(frozen=True)
class Patience:
    """How long a job that was asked to stop may go on before each harder step, in seconds since it was asked."""

    interrupt_s: float = 10.0
    terminate_s: float = 20.0
    kill_s: float = 30.0

    @property
    def steps(self) -> tuple[tuple[float, signal.Signals], ...]:
        """When which signal is sent."""
        return (
            (self.interrupt_s, signal.SIGINT),
            (self.terminate_s, signal.SIGTERM),
            (self.kill_s, signal.SIGKILL),
        )


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker behaves."""

    resume_queue: bool = False
    """Whether jobs that were queued before it started are taken without being asked."""
    idle_timeout_s: float | None = None
    """The model is unloaded after this long without a job; None keeps it."""
    patience: Patience = Patience()
    memory_bytes: int | None = None
    """Dictionary sets of together so many bytes stay in memory; None: a quarter of the device's."""
    child_module: str = CHILD_MODULE


class Supervisor:
    """The worker of one project, from its start to its stop."""

    def __init__(self, project: Project, options: WorkerOptions, log: IO[bytes]) -> None:
        """Work on `project`, which was opened for work; what the child prints between jobs goes to `log`."""
        self.project = project
        self.options = options
        self.engine: Engine | None = None
        self.running: int | None = None
        self.stages: Snapshot = []
        self.notes: list[str] = []
        self.resident: dict[str, Any] = dict(NOTHING_RESIDENT)
        self.resident_told = asyncio.Event()
        self.waits_up_to = 0 if options.resume_queue or not jobs.queue(project.db) else jobs.last_id(project.db)
        """Jobs with an id up to this one are taken only once somebody has said so."""
        self.server = Server(
            address_of(project.directory).socket,
            Answers(self).answer,
            {"pid": os.getpid(), "host": socket.gethostname()},
        )
        self._log = log
        self._told = jobs.last_event_id(project.db)
        self._identity = _identity(project.directory)
        self._bell = asyncio.Event()
        self._stopping = False
        self._done: tuple[int, str] | None = None
        self._failed_starts = 0
        self._start_child_at = 0.0
        self._idle_since = time.monotonic()
        self._kept: set[asyncio.Task[None]] = set()

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until asked to stop; `started` is called once the socket listens."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: logger.info("the terminal is gone; the worker goes on"))
        await self.server.start()
        with suppress(OSError):  # whoever started it, or their terminal, may have gone meanwhile
            started()
        logger.info("worker %d on %s", os.getpid(), self.project.directory)
        try:
            while not self._stopping or self.running is not None:
                await self._look()
            if self.engine is not None:
                await self.engine.end(self.options.patience.interrupt_s)
        finally:
            await self.server.close()
            if self.engine is not None:
                self.engine.kill(signal.SIGKILL)
        logger.info("stopped")

    def stop(self) -> None:
        """End soon: a running job is stopped and becomes `interrupted`, queued ones stay queued."""
        if self._stopping:
            return
        self._stopping = True
        if self.running is not None and jobs.show(self.project.db, self.running).state == "running":
            self.press(self.running, "the worker was asked to stop; the job is stopped after this step")
        self.ring()

    def ring(self) -> None:
        """Look at once whether there is something to do."""
        self._bell.set()

    async def _look(self) -> None:
        """Do what there is to do, then wait until something happens, or a second."""
        try:
            await self._step()
            pause_s = _SECONDS_BETWEEN_LOOKS
        except Exception as error:  # the worker loop's edge: a full disk or a lost directory must not end it
            logger.error("%s: %s", type(error).__name__, error, exc_info=error)
            pause_s = 5 * _SECONDS_BETWEEN_LOOKS
        try:
            await asyncio.wait_for(self._bell.wait(), pause_s)
        except TimeoutError:
            return
        finally:
            self._bell.clear()

    async def _step(self) -> None:
        self._refuse_move()
        if self._done is not None:
            self._settle(*self._done)
        if self.engine is None and not self._stopping and time.monotonic() >= self._start_child_at:
            await self._start_child()
        if self.running is None and self.engine is not None and self.engine.ready and not self._stopping:
            self._take_next(self.engine)
        self.tell_news()

    def _take_next(self, engine: Engine) -> None:
        job_id = None
        if any(job.id > self.waits_up_to for job in jobs.queue(self.project.db)):
            job_id = jobs.claim(self.project.db, engine.pid, self.waits_up_to)
        if job_id is None:
            self._unload_if_idle(engine)
            return
        self.running, self.stages, self.notes = job_id, [], []
        engine.order("run", job=job_id)

    def _unload_if_idle(self, engine: Engine) -> None:
        limit_s = self.options.idle_timeout_s
        if limit_s is not None and self.resident["model"] and time.monotonic() - self._idle_since > limit_s:
            logger.info("idle for %g s: the model is unloaded", limit_s)
            self.resident = dict(NOTHING_RESIDENT)
            engine.order("unload")

    def _refuse_move(self) -> None:
        """Stop if the project is no longer where it was: whoever opens it there must find nobody writing."""
        if not self._stopping and _identity(self.project.directory) != self._identity:
            logger.error("%s is not where it was; the worker stops", self.project.directory)
            self.stop()

    async def _start_child(self) -> None:
        """Start a child; one that dies before it is ready is tried again later and later."""
        if self.project.lock is None:
            raise RuntimeError("a worker needs a project opened for work")
        self._start_child_at = time.monotonic() + min(2.0**self._failed_starts, _LONGEST_WAIT_FOR_CHILD_S)
        self._failed_starts += 1
        directory = self.project.directory.resolve()
        self.engine = await Engine.start(directory, self.project.lock.descriptor, self._log, self.options.child_module)
        self._keep(self._hear(self.engine))

    async def _hear(self, engine: Engine) -> None:
        """Take in what a child says until it is gone."""
        async for message in engine.messages():
            self._take_in(engine, message)
        how = await engine.gone()
        logger.info("child %d %s", engine.pid, how)
        self.engine = None
        self.resident = dict(NOTHING_RESIDENT)
        self.resident_told.set()
        if self.running is not None:
            self._done = self.running, f"its process {how}"
        self._bell.set()

    def _take_in(self, engine: Engine, message: Mapping[str, Any]) -> None:
        if "ready" in message:
            engine.ready, self._failed_starts, self._start_child_at = True, 0, 0.0
            engine.order("keep", bytes=self.options.memory_bytes)
            self._bell.set()
        if "resident" in message:
            self.resident = message["resident"]
            if "progress" not in message:  # these may be said before an order and heard after it
                self.resident_told.set()
        if "ended" in message:
            self._done = message["ended"], "its process gave it up"
            engine.ready = not message["last"]
            self._bell.set()
        if self.running is None:
            return
        if "started" in message:
            self._announce(self.running, started_line(self, self.running))
        if "progress" in message:
            self.stages = message["progress"]
            self._announce(self.running, progress_line(self, self.running), skippable=True)
        if "note" in message:
            self.notes = [*self.notes, message["note"]][-_NOTES_KEPT:]
            self._announce(self.running, note_line(self.running, message["note"]))

    def _settle(self, job_id: int, line: str) -> None:
        """The child is done with a job, or gone: give it an end if it has none yet, and sweep what it left."""
        job = jobs.show(self.project.db, job_id)
        if job.finished_at is None:
            state: jobs.Ended = "cancelled" if job.state == "cancelling" else "interrupted"
            with self.project.transaction():
                jobs.add_event(self.project.db, job_id, jobs.EXIT, str(130 if state == "cancelled" else 1))
                jobs.finish(self.project.db, job_id, state, f"{line}; `workbench jobs retry {job_id}` goes on")
            self.project.sweep()
        self._done, self.running, self.stages, self.notes = None, None, [], []
        self._idle_since = time.monotonic()

    def press(self, job_id: int, line: str) -> None:
        """Ask the child to stop a job, and begin to wait for it."""
        if self.engine is not None:
            self.engine.order("cancel", job=job_id, stopping=self._stopping)
            self._keep(self._insist(self.engine, job_id))
        self._note_step(job_id, line)

    async def _insist(self, engine: Engine, job_id: int) -> None:
        """Take the harder steps of a cancel one after the other, until the job has ended."""
        waited_s = 0.0
        for at_s, number in self.options.patience.steps:
            await asyncio.sleep(at_s - waited_s)
            waited_s = at_s
            if self.running != job_id or self.engine is not engine:
                return
            after = "the model is loaded again for the next job"
            self._note_step(job_id, f"it has not stopped after {at_s:g} s: {number.name} is sent; {after}")
            engine.kill(number)

    def _note_step(self, job_id: int, text: str) -> None:
        """Write a step of a cancel, unless the disk is too full even for that: the steps themselves must go on."""
        try:
            jobs.add_event(self.project.db, job_id, "cancel", text)
            self.tell_news()
        except pysqlite3.Error as error:
            logger.error("job %d: %s (not written: %s)", job_id, text, error)

    def tell_news(self) -> None:
        """Announce what the job table has to say since the last time."""
        for event_id, job_id, line in event_lines(self, self._told):
            self._told = event_id
            self._announce(job_id, line)

    def _announce(self, job_id: int, message: Mapping[str, Any], skippable: bool = False) -> None:
        for connection in self.server.connections:
            connection.announce(job_id, message, skippable)

    def _keep(self, work: Any) -> None:
        """Run a coroutine beside the others; the loop alone would forget it."""
        kept = asyncio.get_running_loop().create_task(work)
        self._kept.add(kept)
        kept.add_done_callback(self._kept.discard)
        kept.add_done_callback(_log_fault)


def _log_fault(task: asyncio.Task[None]) -> None:
    """Write down what went wrong in work that nobody waits for."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)


def _identity(directory: Path) -> tuple[int, int] | None:
    """Device and inode of the project's database; None if it is not there."""
    try:
        about = (directory / DATABASE_NAME).stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino
