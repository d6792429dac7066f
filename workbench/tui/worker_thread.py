"""The worker as the app reaches it: a thread that listens to every job, and orders that are awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from store.errors import WorkbenchError
from tasks.params import Params
from workbench.tui.messages import WorkerNews
from workbench.worker import orders

T = TypeVar("T")
_SECONDS_BETWEEN_TRIES = 2.0
_LONGEST_WAIT_S = 0.5


class WorkerThread:
    """The connection to the project's worker; it comes back when the worker does."""

    def __init__(self, directory: Path, tell: Callable[[WorkerNews], object], starts: bool) -> None:
        """`tell` is called from a thread with what is heard; `starts` says whether to start a worker if none runs."""
        self.directory = directory
        self._tell = tell
        self._starts = starts
        self._heard = -1  # the newest event's id that was told; -1: only what is to come
        self._stopped = threading.Event()
        self._orders = ThreadPoolExecutor(1, thread_name_prefix="worker-orders")
        self._thread = threading.Thread(target=self._listen, name="worker-listen", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Hang up; the worker and its jobs go on."""
        self._stopped.set()
        self._orders.shutdown(wait=False, cancel_futures=True)

    async def submit(self, kind: str, params: Params) -> int:
        """Queue a job and tell the worker; the job's id. With no worker up, the job waits for one."""
        return await self._ordered(lambda: self._submit(kind, params))

    async def ask(self, op: str, **arguments: Any) -> Mapping[str, Any]:
        """The worker's answer; raises `Missing` if none runs, `Reported` with what it refuses."""
        return await self._ordered(lambda: self._ask(op, arguments))

    async def cancel(self, job_id: int) -> None:
        """Ask a job to stop, through the worker or, if it only waits, in its row."""
        await self._ordered(lambda: orders.cancel(self.directory, job_id))

    async def retry(self, job_id: int) -> int:
        """Queue an ended job once more; the new job's id."""
        return await self._ordered(lambda: orders.retry(self.directory, job_id))

    async def take_next(self, job_id: int) -> None:
        """Have a queued job taken before all others that wait."""
        await self._ordered(lambda: orders.move(self.directory, job_id))

    async def _ordered(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._orders, function)

    def _submit(self, kind: str, params: Params) -> int:
        from workbench.worker.client import WorkerClient

        client = WorkerClient.connect(self.directory)
        try:
            return orders.hand_over(self.directory, kind, params, client)
        finally:
            if client is not None:
                client.close()

    def _ask(self, op: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        from workbench.worker.client import WorkerClient

        with WorkerClient.require(self.directory) as client:
            return client.ask(op, **arguments)

    def _listen(self) -> None:
        """Connect, listen until the worker goes, and again; a worker is started at most once."""
        said = ""
        while not self._stopped.is_set():
            try:
                self._start_once()
                self._hear()
                reason = "the worker has gone; reading still works"
            except (WorkbenchError, OSError) as error:
                reason = str(error)
            except EOFError:
                reason = "the worker has gone; reading still works"
            if reason != said and not self._stopped.is_set():
                self._tell(WorkerNews("down", reason))
            said = reason
            self._stopped.wait(_SECONDS_BETWEEN_TRIES)

    def _start_once(self) -> None:
        from workbench.worker.client import WorkerClient

        if not self._starts:
            return
        self._starts = False
        client = WorkerClient.connect(self.directory)
        if client is not None:
            client.close()
            return
        from workbench.worker.daemon import start_worker
        from workbench.worker.supervisor import WorkerOptions

        start_worker(self.directory, WorkerOptions())

    def _hear(self) -> None:
        from workbench.worker.client import WorkerClient

        with WorkerClient.require(self.directory) as client:
            self._heard = client.ask("subscribe", job=0, since=self._heard)["event"]
            self._tell(WorkerNews("up", f"process {client.facts['pid']}", client.facts))
            while not self._stopped.is_set():
                announcement = client.announcement(_LONGEST_WAIT_S)
                if announcement is not None:
                    self._heard = announcement.get("event", {}).get("id", self._heard)
                    self._tell(WorkerNews("job", job=announcement))
