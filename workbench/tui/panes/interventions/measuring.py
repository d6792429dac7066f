"""What was measured, what is being measured, and what could not be: by the params of the run, so that equal runs share.

Everything comes from the project's jobs: a run that was made before, here or on the command line, is not made again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from store import jobs
from store.jobs import ENDED, Job
from tasks.intervene import Params
from workbench.tui.store_thread import StoreThread

if TYPE_CHECKING:
    from store.project import Project

KIND = "intervene"
_LATEST = 500
"""Jobs among which those that have not ended are looked for."""
Submit = Callable[[Params], Awaitable[int]]
"""Gives the worker a job and returns its id."""


@dataclass
class Measuring:
    """The state of every run that the console has asked for or found."""

    store: StoreThread
    submit: Submit
    documents: dict[Params, dict[str, Any]] = field(default_factory=dict)
    waiting: dict[Params, int] = field(default_factory=dict)
    """Runs that have not ended, and their jobs."""
    faults: dict[Params, str] = field(default_factory=dict)
    """Runs that failed, and why: the line that the job left."""
    _states: dict[int, str] = field(default_factory=dict)

    def state(self, params: Params) -> str:
        """`queued`, `running`, `failed`, or nothing where there is a result or was no run."""
        if params in self.waiting:
            return self._states.get(self.waiting[params], "queued")
        return "failed" if params in self.faults else ""

    async def begin(self) -> None:
        """Find the runs that were asked for earlier and have not ended."""
        for job in await self.store.read(_unfinished):
            self._note(job)

    async def recall(self, wanted: Iterable[Params]) -> bool:
        """Take what earlier jobs measured for these runs; whether there was anything."""
        missing = [params for params in wanted if params not in self.documents and params not in self.waiting]
        if not missing:
            return False
        found = await self.store.read(lambda project: _earlier(project, missing))
        self.documents |= found
        return bool(found)

    async def ask(self, wanted: Iterable[Params]) -> int:
        """Have these runs made, but for those that are known or being made; how many were asked for."""
        runs = list(dict.fromkeys(wanted))
        await self.recall(runs)
        missing = [params for params in runs if params not in self.documents and params not in self.waiting]
        for params in missing:
            self.follow(params, await self.submit(params))
        return len(missing)

    def follow(self, params: Params, job_id: int) -> None:
        """The job with this id makes this run."""
        self.faults.pop(params, None)
        self.waiting[params] = job_id

    async def collect(self) -> list[Params]:
        """Take the results of jobs that have ended since; the runs that have them now, or failed."""
        waited = dict(self.waiting)
        if not waited:
            return []
        found = await self.store.read(lambda project: [jobs.show(project.db, job) for job in waited.values()])
        ended = []
        for params, job in zip(waited, found, strict=True):
            self._states[job.id] = "running" if job.state in ("running", "cancelling") else "queued"
            if job.state in ENDED and self.waiting.get(params) == job.id:
                self._end(params, job)
                ended.append(params)
        return ended

    def _end(self, params: Params, job: Job) -> None:
        del self.waiting[params]
        if job.result is not None:
            self.documents[params] = job.result
        else:
            self.faults[params] = job.error or f"job {job.id} was {job.state}"

    def _note(self, job: Job) -> None:
        params = _read(job.params)
        if params is not None:
            self.waiting[params] = job.id
            self._states[job.id] = "queued" if job.state == "queued" else "running"


def _unfinished(project: Project) -> list[Job]:
    latest = jobs.listing(project.db, _LATEST)
    return [job for job in latest if job.kind == KIND and job.state not in ENDED]


def _earlier(project: Project, wanted: Iterable[Params]) -> dict[Params, dict[str, Any]]:
    from tasks.execute import earlier_document

    found = ((params, earlier_document(KIND, params, project)) for params in wanted)
    return {params: document for params, document in found if document is not None}


def _read(params: Mapping[str, Any]) -> Params | None:
    try:
        return Params.model_validate(dict(params))
    except ValidationError:
        return None
