"""What the supervisor answers to each operation of a client."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from store import jobs
from store.errors import BadInput, WorkbenchError
from tasks.execute import enqueue
from tasks.registry import task
from workbench.worker.job_lines import event_lines, note_line, progress_line
from workbench.worker.protocol import Request
from workbench.worker.server import Connection
from workbench.worker.status import resident, status

if TYPE_CHECKING:
    from workbench.worker.supervisor import Supervisor

FROM_NOW = -1
"""`since` of a subscriber that wants nothing of what has happened before."""
_SECONDS_BETWEEN_TRIES = 0.05
_LONGEST_WAIT_FOR_CHILD_S = 30.0


class Answers:
    """Answers for one supervisor. Each answer is one JSON object; refusals are raised as `WorkbenchError`."""

    def __init__(self, worker: Supervisor) -> None:
        """Answer for `worker`."""
        self._worker = worker

    async def answer(self, request: Request, connection: Connection) -> Mapping[str, Any]:
        """Do what a client asks for."""
        match request.op:
            case "status":
                return status(self._worker)
            case "submit":
                return self._submit(request)
            case "cancel":
                return self._cancel(request.integer("job"))
            case "reprioritise":
                return self._reprioritise(request)
            case "subscribe":
                return self._subscribe(request, connection)
            case "load" | "unload":
                return await self._order_model(request.op)
            case "resume":
                self._worker.waits_up_to = 0
                self._worker.ring()
                return {"queue": [job.id for job in jobs.queue(self._worker.project.db)]}
            case _:
                self._worker.stop()
                return {"pid": os.getpid()}

    def _submit(self, request: Request) -> Mapping[str, Any]:
        """Take a job that the client has inserted, or insert one for it (where only this node may write)."""
        worker, db = self._worker, self._worker.project.db
        if "job" in request.arguments:
            job = jobs.show(db, request.integer("job"))
            worker.ring()
            return {"job": job.id, "waits": job.id <= worker.waits_up_to}
        job_id = jobs.retry(db, request.integer("retry")) if "retry" in request.arguments else self._enqueue(request)
        worker.ring()
        return {"job": job_id, "waits": False}

    def _enqueue(self, request: Request) -> int:
        kind, origin = request.text("kind"), Path(request.text("origin"))
        try:
            params = task(kind).params_type.model_validate(request.arguments.get("params"))
        except ValidationError as error:
            raise BadInput(f"{kind} does not take these params", f"`workbench {kind} --help`") from error
        return enqueue(kind, params, self._worker.project, origin)

    def _cancel(self, job_id: int) -> Mapping[str, Any]:
        worker = self._worker
        before = jobs.show(worker.project.db, job_id).state
        state = jobs.ask_cancel(worker.project.db, job_id)
        if before == "running":
            worker.press(job_id, "it is asked to stop after this step")
        worker.tell_news()
        return {"job": job_id, "state": state}

    def _reprioritise(self, request: Request) -> Mapping[str, Any]:
        """Move a queued job to the front, or right behind another one."""
        after = request.integer("after") if request.arguments.get("after") is not None else None
        order = jobs.move(self._worker.project.db, request.integer("job"), after)
        self._worker.tell_news()
        return {"queue": order}

    def _subscribe(self, request: Request, connection: Connection) -> Mapping[str, Any]:
        """Send a job's events (0: every job's) since one, and from now on all that happens to it."""
        worker = self._worker
        job, since = request.integer("job", 0), request.integer("since", 0)
        if job:
            jobs.show(worker.project.db, job)
        worker.tell_news()
        newest = jobs.last_event_id(worker.project.db)
        connection.job = job
        for _, job_id, line in event_lines(worker, newest if since == FROM_NOW else min(max(since, 0), newest)):
            connection.announce(job_id, line)
        if worker.running is not None:
            for note in worker.notes:
                connection.announce(worker.running, note_line(worker.running, note))
            connection.announce(worker.running, progress_line(worker, worker.running))
        return {"job": job, "event": newest}

    async def _order_model(self, order: str) -> Mapping[str, Any]:
        worker = self._worker
        deadline = time.monotonic() + _LONGEST_WAIT_FOR_CHILD_S
        while (worker.engine is None or not worker.engine.ready) and time.monotonic() < deadline:
            await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
        if worker.running is not None:
            raise BadInput(f"job {worker.running} is running", "wait for it, or cancel it")
        if worker.engine is None or not worker.engine.ready:
            raise WorkbenchError("the worker's child does not start", "`workbench worker logs` says why")
        worker.resident_told.clear()
        worker.engine.order(order)
        await worker.resident_told.wait()
        return {"resident": resident(worker)}
