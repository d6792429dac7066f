"""What the child process does: it holds the model and runs one job at a time, as the supervisor orders.

What a job prints goes to the job's log.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from types import FrameType
from typing import Any

from store import jobs
from store.errors import WorkbenchError
from store.lock import WriteLock
from store.project import Project
from tasks.context import Context
from tasks.execute import run_claimed
from tasks.memory_use import give_back, is_out_of_memory
from workbench.figures import draw_graph
from workbench.worker.child_process import PARENT_GONE
from workbench.worker.protocol import decode, encode
from workbench.worker.stages import Snapshot, SnapshotProgress


class ModelChild:
    """Takes orders in one thread and works in the main one, so that a cancel is heard while a job runs."""

    def __init__(self, control: socket.socket, project: Project) -> None:
        """Serve the supervisor at the other end of `control`."""
        self._control = control
        self._sending = Lock()
        self._orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._job = 0
        self._stopping = False
        self._working = False
        self._interrupted = False
        """Whether a job was stopped in the middle of a step, an import perhaps, which no second one in this process
        gets right."""
        self._poisoned = False
        """Whether this process can take no further job."""
        progress = SnapshotProgress(self._send_stages, lambda text: self._send(note=text))
        self.context = Context(project, progress, draw=draw_graph)

    def serve(self) -> None:
        """Carry out orders until the last one, `quit`, or until this process can take no further job."""
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        Thread(target=self._listen, name="orders", daemon=True).start()
        self._send(ready=os.getpid())
        while (order := self._orders.get())["order"] != "quit":
            if order["order"] == "run":
                self._run(order["job"])
                self._send(ended=order["job"], last=self._poisoned, **({} if self._poisoned else self._resident()))
                if self._poisoned:
                    return
            else:
                self._obey(order)
                self._send(**self._resident())

    def _obey(self, order: dict[str, Any]) -> None:
        """Load, unload, or keep so many bytes of dictionaries."""
        if order["order"] == "load":
            self._load()
        elif order["order"] == "unload":
            self._unload()
        else:
            self.context.dictionaries.budget_bytes = order["bytes"]

    def _listen(self) -> None:
        """Queue orders as they come; a cancel is passed to the running job at once."""
        with self._control.makefile("rb") as lines:
            for line in lines:
                order = decode(line)
                if order["order"] == "cancel":
                    if order["job"] == self._job:
                        self._stopping = bool(order["stopping"])
                        self.context.cancelled.set()
                    continue
                if order["order"] == "run":
                    self._job, self._stopping = order["job"], False
                    self.context.cancelled.clear()
                self._orders.put(order)
        os._exit(PARENT_GONE)

    def _run(self, job_id: int) -> None:
        """Run one job. Nothing that it does ends this process; how it ended is in its row."""
        project = self.context.project
        with _output_to(project.directory / "logs" / f"job-{job_id}.log"):
            try:
                os.chdir(_origin(project, job_id))
                self._working = True
                self._send(started=job_id)
                run_claimed(job_id, self.context, self._stopped_as, lambda: self._interrupted)
            except WorkbenchError as error:
                print(error, file=sys.stderr)
                if is_out_of_memory(error):
                    give_back()
                self._poisoned = _poisons_device(error)
            except KeyboardInterrupt:
                print("interrupted in the middle of a step", file=sys.stderr)
            except Exception as error:  # the worker loop's edge: logged here, and a line in the job's row
                traceback.print_exc()
                self._poisoned = _poisons_device(error)
            finally:
                self._working = False
                self._poisoned |= self._interrupted

    def _stopped_as(self) -> jobs.Ended:
        return "interrupted" if self._stopping else "cancelled"

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """The second step of a cancel: stop in the middle of a step, if there is one."""
        if self._working:
            self._working = False
            self._interrupted = True
            raise KeyboardInterrupt("stopped in the middle of a step")

    def _load(self) -> None:
        with suppress(WorkbenchError):  # the job that needs the model says what is wrong with it
            _ = self.context.model

    def _unload(self) -> None:
        self.context.unload()
        give_back()

    def _send_stages(self, stages: Snapshot) -> None:
        """Say how far the running job is, and what it has brought into memory: not while torch is half imported."""
        self._send(progress=stages, **(self._resident() if self.context.loaded else {}))

    def _resident(self) -> dict[str, Any]:
        """What is held in memory, and the bytes on a device."""
        torch = sys.modules.get("torch")
        on_device = torch.cuda.memory_allocated() if torch is not None and torch.cuda.is_available() else None
        model = self.context.project.model.spec if self.context.loaded else None
        sets = self.context.dictionaries
        held = {"model": model, "dictionaries": sets.sizes(), "budget_bytes": sets.budget_bytes}
        return {"resident": {**held, "device_bytes": on_device}}

    def _send(self, **message: Any) -> None:
        with self._sending, suppress(BrokenPipeError):  # the listening thread sees the end, and ends this process
            self._control.sendall(encode(message))


def _poisons_device(error: BaseException) -> bool:
    """Whether after this error every further call on the device fails: only another process can use it again."""
    if is_out_of_memory(error):
        return False
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
        return True
    return error.__cause__ is not None and _poisons_device(error.__cause__)


def _origin(project: Project, job_id: int) -> str:
    """The directory at which the job's relative paths start: where it was asked for, else the project's."""
    origin = jobs.said(project.db, job_id, jobs.ORIGIN)
    return origin if os.path.isdir(origin) else str(project.directory)


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """For as long as the block lasts, all that this process prints goes to the end of `log`."""
    log.parent.mkdir(exist_ok=True)
    before = os.dup(1), os.dup(2)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, number in zip(before, (1, 2), strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def serve(control: int, lock: int, directory: Path) -> None:
    """Serve the supervisor at the other end of the socket `control`, under the lock of descriptor `lock`."""
    with (
        socket.socket(fileno=control) as connection,
        Project.open_beside(directory, WriteLock.from_descriptor(lock)) as project,
    ):
        ModelChild(connection, project).serve()
