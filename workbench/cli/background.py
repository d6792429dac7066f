"""Work that another process does: handing a job to the project's worker, and waiting for it as if it ran here."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGINT, SIGTERM, signal
from typing import TYPE_CHECKING, Any

from store.errors import Missing, Reported
from workbench import VERSION
from workbench.cli.output import narrate
from workbench.worker.orders import hand_over

if TYPE_CHECKING:
    from store.jobs import Job
    from tasks.params import Params
    from workbench.worker.client import WorkerClient
    from workbench.worker.stages import SnapshotReplay

_SECONDS_BETWEEN_LOOKS = 0.1


def tell_queued(directory: Path, job_id: int, client: WorkerClient | None) -> None:
    """Say on stderr what becomes of a job that nobody waits for."""
    if client is None:
        narrate(f"job {job_id} waits for a worker: `workbench --project {directory} worker start --resume-queue`")
    else:
        narrate(f"job {job_id} is with the worker (process {client.facts['pid']}): `workbench jobs show {job_id}`")


def run_in_worker(directory: Path, kind: str, params: Params, client: WorkerClient) -> dict[str, Any]:
    """Have the worker run a job, show its progress here, and return its document.

    The first Ctrl-C cancels the job, the second leaves it to the worker. Raises `Reported` with the job's line and exit
    code if it does not succeed.
    """
    from workbench.cli.progress import terminal_progress
    from workbench.worker.stages import SnapshotReplay

    job_id = hand_over(directory, kind, params, client)
    with terminal_progress() as progress, _count_presses(job_id) as presses:
        narrate(f"job {job_id} runs in the worker (process {client.facts['pid']})")
        if (theirs := client.facts["version"]) != VERSION:
            narrate(f"the worker is workbench {theirs} and this is {VERSION}; restart it to have the same")
        replay = SnapshotReplay(progress)
        try:
            client.ask("subscribe", job=job_id)
            _follow(client, job_id, replay, presses)
        except (EOFError, Missing):
            pass  # the worker has gone: the row says how far the job came
        finally:
            replay.clear()
    return _document(directory, job_id)


def _follow(client: WorkerClient, job_id: int, replay: SnapshotReplay, presses: list[int]) -> None:
    """Show what happens to a job until it has ended; a first press cancels it, a second leaves it."""
    from store.jobs import ENDED

    asked = False
    while True:
        if presses and not asked:
            asked = True
            with suppress(Reported):  # it has ended meanwhile
                client.ask("cancel", job=job_id)
        if len(presses) > 1:
            narrate(f"job {job_id} is left to the worker: `workbench jobs show {job_id}`")
            raise KeyboardInterrupt
        message = client.announcement(_SECONDS_BETWEEN_LOOKS)
        if message is None:
            continue
        if "progress" in message:
            replay.show(message["progress"])
        elif "note" in message:
            replay.sink.note(message["note"])
        elif "event" in message:
            event = message["event"]
            if event["kind"] == "state" and event["text"] in ENDED:
                return
            if event["kind"] in ("cancel", "warning"):
                replay.sink.note(f"job {job_id}: {event['text']}")


def _document(directory: Path, job_id: int) -> dict[str, Any]:
    """The document of a job that has ended; `Reported` if it has none."""
    from store import jobs
    from store.project import Project

    with Project.open(directory, write=False) as project:
        job = jobs.show(project.db, job_id)
        code = jobs.said(project.db, job_id, jobs.EXIT)
    if job.result is not None:
        return job.result
    raise Reported(_line(directory, job), int(code or 1))


def _line(directory: Path, job: Job) -> str:
    """What is said of a job that did not succeed."""
    if job.finished_at is None:
        again = f"`workbench worker start`, then `workbench jobs retry {job.id}`"
        return f"the worker has gone and job {job.id} is {job.state}; {again}"
    log = directory / "logs" / f"job-{job.id}.log"
    told = job.error or job.state
    return told if ";" in told else f"{told} (a fault of the workbench; details: {log})"


@contextmanager
def _count_presses(job_id: int) -> Iterator[list[int]]:
    """A list that grows with every Ctrl-C (or SIGTERM)."""
    presses: list[int] = []

    def count(number: int, frame: types.FrameType | None) -> None:
        if not presses:
            narrate(f"job {job_id} is being cancelled; once more to leave it to the worker")
        presses.append(number)

    before = {number: signal(number, count) for number in (SIGINT, SIGTERM)}
    try:
        yield presses
    finally:
        for number, handler in before.items():
            signal(number, handler)
