"""`python -m tests.workbench.worker.torture KILLS [SECONDS] [scripted|real]`: a worker and its child, killed at random.

Jobs of several sorts are queued all the while, scripted ones or every real kind on a tiny model; what was acknowledged
before a kill must be there after it. Prints figures as JSON: kills and what they hit, jobs acknowledged as queued and
as succeeded, the longest restart, and whatever was lost.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zipfile import is_zipfile

from store import jobs
from store.errors import Damaged, WorkbenchError
from store.project import Project
from tasks.execute import enqueue
from tasks.params import Params as TaskParams
from tests.store.conftest import MODEL
from tests.workbench.worker.real_jobs import RealJobs
from tests.workbench.worker.scripted_task import Params, register
from tests.workbench.worker.scripted_worker import first_line, start
from workbench.worker.client import WorkerClient
from workbench.worker.runtime_directory import RUNTIME_VARIABLE

Sort = Literal["scripted", "real"]
_CHECKPOINT = "weights/resume_"
"""What an interrupted training goes on from stays."""
_LONGEST_S = 60.0
_SWEPT = ("weights", "activations", "graphs")
_LONGEST_FIRST_S = {"scripted": 5.0, "real": 60.0}
"""How long a child may take to its first success: a real one loads torch."""
LOSSES = ("queued rows lost", "successes lost", "stuck", "succeeded without result", "files without their row",
          "half results", "leftovers", "files unreadable", "database damaged", "refused starts")  # fmt: skip
"""What must stay 0."""
_ROWS_OF_JOBS = ("baseline", "capture", "dictionary", "graph", "intervention", "effect", "edge_effect")
_JOBS = (
    Params(),
    Params(steps=20, step_s=0.005),
    Params(fails="work"),
    Params(steps=2, step_s=0.05, deaf="cancel"),
    Params(dies=int(signal.SIGSEGV)),
    Params(steps=50, step_s=0.002, loud="narration"),
)


class Torture:
    """One project that is worked on, killed and looked after again and again."""

    def __init__(self, directory: Path, seed: int, sort: Sort) -> None:
        """Make the project."""
        self.sort = sort
        self.chance = random.Random(seed)
        self.queued: set[int] = set()
        self.succeeded: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.restart_s: list[float] = []
        self._draw: Callable[[int], tuple[str, TaskParams]] = self._scripted
        self.directory = directory
        if sort == "real":
            real = RealJobs.create(directory)
            self.directory = real.project
            self._draw = lambda number: real.draw(self.chance, number)
        else:
            Project.create(directory, MODEL, "0.1.0").close()

    def _scripted(self, number: int) -> tuple[str, TaskParams]:
        return "scripted", self.chance.choice(_JOBS)

    def round(self) -> None:
        """Start a worker, give it work, kill its child a few times and at last itself, and look at what is left."""
        began = time.monotonic()
        worker = start(self.directory, resume_queue=True)
        if first_line(worker) != "listens":
            self.counts["refused starts"] += 1
        self.restart_s.append(time.monotonic() - began)
        with WorkerClient.require(self.directory) as client:
            client.ask("subscribe", job=0)
            for _ in range(self.chance.randint(0, 4)):
                self._submit(client)
                self._wait(client)
                status = client.ask("status")
                for child in status["children"]:
                    self._kill(child, status["running"])
            self._submit(client)
            self._wait(client)
            self._kill(worker.pid, client.ask("status")["running"])
        worker.communicate()
        self._look()

    def _submit(self, client: WorkerClient) -> None:
        waiting = client.ask("status")["queue"]
        for _ in range(4 if self.sort == "scripted" else max(1, 3 - len(waiting))):
            kind, params = self._draw(len(self.queued))
            with Project.open(self.directory, write=True, work=False) as project:
                job_id = enqueue(kind, params, project, self.directory)
            self.queued.add(job_id)
        client.ask("submit", job=job_id)

    def _wait(self, client: WorkerClient) -> None:
        """Let it work: any moment, a start of the child too, or some way into the jobs after one has succeeded."""
        if self.chance.random() < 0.7:
            before, until = len(self.succeeded), time.monotonic() + _LONGEST_FIRST_S[self.sort]
            while len(self.succeeded) == before and time.monotonic() < until:
                self._hear(client, 0.05)
            self._hear(client, self.chance.uniform(0.0, 0.15 if self.sort == "scripted" else 0.6))
        else:
            self._hear(client, self.chance.uniform(0.0, 1.0))

    def _hear(self, client: WorkerClient, seconds: float) -> None:
        """Listen for a while; whatever is announced as succeeded is acknowledged."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            event = (client.announcement(left_s) or {}).get("event", {})
            if event.get("text") == "succeeded" and event["job"] in self.queued:
                self.succeeded.add(event["job"])

    def _kill(self, pid: int, running: Mapping[str, Any] | None) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
            self.counts["kills"] += 1
            self.counts[f"while {running['kind']} ran" if running else "while nothing ran"] += 1
        except ProcessLookupError:
            return

    def _look(self) -> None:
        """Open the project as the next one who works would, and count what is not as it was acknowledged."""
        with _opened(self.directory) as project:
            every = jobs.listing(project.db, limit=1_000_000)
            rows = {job.id: job for job in every if job.id in self.queued}
            self.counts["queued rows lost"] += len(self.queued - set(rows))
            self.counts["successes lost"] += sum(rows[job].state != "succeeded" for job in self.succeeded)
            self.counts["stuck"] += sum(job.state in ("running", "cancelling") for job in rows.values())
            self.counts["succeeded without result"] += sum(
                job.state == "succeeded" and not job.result for job in rows.values()
            )
            files = [project.file(row[0]) for row in project.db.execute("SELECT id FROM file").fetchall()]
            if self.sort == "scripted":
                named = {str((job.result or {})["stored"]) for job in rows.values() if job.state == "succeeded"}
                self.counts["files without their row"] += len(named ^ {file.path for file in files})
            self.counts["half results"] += sum(map(partial(_rows_of_unfinished, project), _ROWS_OF_JOBS))
            on_disk = {f"{folder}/{path.name}" for folder in _SWEPT for path in (self.directory / folder).iterdir()}
            unnamed = on_disk - {file.path for file in files}
            self.counts["leftovers"] += sum(not path.startswith(_CHECKPOINT) for path in unnamed)
            for file in files:
                try:
                    project.files.verify(file)
                except Damaged:
                    self.counts["files unreadable"] += 1
            self.counts["files unreadable"] += sum(not is_zipfile(pack) for pack in self.directory.parent.glob("*.zip"))
            if project.db.execute("PRAGMA quick_check").fetchone() != ("ok",):
                self.counts["database damaged"] += 1


def _rows_of_unfinished(project: Project, table: str) -> int:
    """Rows that a job left which did not succeed."""
    sql = f"SELECT count(*) FROM {table} JOIN job ON job.id = {table}.job_id WHERE state <> 'succeeded'"
    return int(project.db.execute(sql).fetchone()[0])


def _opened(directory: Path) -> Project:
    """The project, open for work, once the killed worker's child is gone too."""
    deadline = time.monotonic() + _LONGEST_S
    while True:
        try:
            return Project.open(directory, write=True)
        except WorkbenchError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def main(kills: int, seconds: float, sort: Sort) -> None:
    """Go on until there have been so many kills, or that long has passed; then print what was counted."""
    register()
    until, number, total = time.monotonic() + seconds, 0, Counter[str]()
    restart_s: list[float] = []
    with tempfile.TemporaryDirectory(prefix="wb-", dir="/tmp") as folder:
        os.environ[RUNTIME_VARIABLE] = folder
        while total["kills"] < kills and time.monotonic() < until:
            torture = Torture(Path(folder) / f"project-{number}", number, sort)
            for _ in range(10):
                if torture.counts["kills"] + total["kills"] < kills and time.monotonic() < until:
                    torture.round()
            total += torture.counts + Counter(queued=len(torture.queued), succeeded=len(torture.succeeded))
            restart_s += torture.restart_s
            number += 1
    print(json.dumps({**total, **{name: total[name] for name in LOSSES}, "longest restart_s": max(restart_s)}))


if __name__ == "__main__":
    asked = dict(enumerate(sys.argv))
    main(int(sys.argv[1]), float(asked.get(2, "1e9")), "real" if asked.get(3) == "real" else "scripted")
