"""`python -m tests.workbench.worker.torture KILLS [SECONDS]`: a worker and its child, killed at random moments.

Jobs of several sorts are queued all the while; what was acknowledged before a kill must be there after it. Prints
figures as JSON: kills, jobs acknowledged as queued and as succeeded, the longest restart, and whatever was lost.
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
from pathlib import Path

from store import jobs
from store.errors import Damaged, WorkbenchError
from store.project import Project
from tasks.execute import enqueue
from tests.store.conftest import MODEL
from tests.workbench.worker.scripted_task import Params, register
from tests.workbench.worker.scripted_worker import first_line, start
from workbench.worker.client import WorkerClient
from workbench.worker.runtime_directory import RUNTIME_VARIABLE

_LONGEST_S = 60.0
_LONGEST_FIRST_S = 5.0
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

    def __init__(self, directory: Path, seed: int) -> None:
        """Make the project."""
        self.directory = directory
        self.chance = random.Random(seed)
        self.queued: set[int] = set()
        self.succeeded: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.restart_s: list[float] = []
        Project.create(directory, MODEL, "0.1.0").close()

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
                for child in client.ask("status")["children"]:
                    self._kill(child)
            self._submit(client)
            self._wait(client)
            self._kill(worker.pid)
        worker.communicate()
        self._look()

    def _submit(self, client: WorkerClient) -> None:
        for params in self.chance.choices(_JOBS, k=4):
            with Project.open(self.directory, write=True, work=False) as project:
                job_id = enqueue("scripted", params, project, self.directory)
            self.queued.add(job_id)
        client.ask("submit", job=job_id)

    def _wait(self, client: WorkerClient) -> None:
        """Let it work: any moment, a start of the child too, or some way into the jobs after one has succeeded."""
        if self.chance.random() < 0.7:
            before, until = len(self.succeeded), time.monotonic() + _LONGEST_FIRST_S
            while len(self.succeeded) == before and time.monotonic() < until:
                self._hear(client, 0.05)
            self._hear(client, self.chance.uniform(0.0, 0.15))
        else:
            self._hear(client, self.chance.uniform(0.0, 1.0))

    def _hear(self, client: WorkerClient, seconds: float) -> None:
        """Listen for a while; whatever is announced as succeeded is acknowledged."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            event = (client.announcement(left_s) or {}).get("event", {})
            if event.get("text") == "succeeded":
                self.succeeded.add(event["job"])

    def _kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
            self.counts["kills"] += 1
        except ProcessLookupError:
            return

    def _look(self) -> None:
        """Open the project as the next one who works would, and count what is not as it was acknowledged."""
        with _opened(self.directory) as project:
            rows = {job.id: job for job in jobs.listing(project.db, limit=1_000_000)}
            self.counts["queued rows lost"] += len(self.queued - set(rows))
            self.counts["successes lost"] += sum(rows[job].state != "succeeded" for job in self.succeeded)
            self.counts["stuck"] += sum(job.state in ("running", "cancelling") for job in rows.values())
            self.counts["succeeded without result"] += sum(
                job.state == "succeeded" and not job.result for job in rows.values()
            )
            named = {str((job.result or {})["stored"]) for job in rows.values() if job.state == "succeeded"}
            files = [project.file(row[0]) for row in project.db.execute("SELECT id FROM file").fetchall()]
            self.counts["files without their row"] += len(named ^ {file.path for file in files})
            on_disk = {f"weights/{path.name}" for path in (self.directory / "weights").iterdir()}
            self.counts["leftovers"] += len(on_disk - named)
            for file in files:
                try:
                    project.files.verify(file)
                except Damaged:
                    self.counts["files unreadable"] += 1
            if project.db.execute("PRAGMA quick_check").fetchone() != ("ok",):
                self.counts["database damaged"] += 1


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


def main(kills: int, seconds: float) -> None:
    """Go on until there have been so many kills, or that long has passed; then print what was counted."""
    register()
    until, number, total = time.monotonic() + seconds, 0, Counter[str]()
    restart_s: list[float] = []
    with tempfile.TemporaryDirectory(prefix="wb-", dir="/tmp") as folder:
        os.environ[RUNTIME_VARIABLE] = folder
        while total["kills"] < kills and time.monotonic() < until:
            torture = Torture(Path(folder) / f"project-{number}", seed=number)
            for _ in range(10):
                if torture.counts["kills"] + total["kills"] < kills and time.monotonic() < until:
                    torture.round()
            total += torture.counts + Counter(queued=len(torture.queued), succeeded=len(torture.succeeded))
            restart_s += torture.restart_s
            number += 1
    print(json.dumps({**total, "longest restart_s": round(max(restart_s), 2)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1e9)
