"""A task that does what its params say and no more: it takes steps, ignores cancels, fails, dies."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from store.errors import BadInput, WorkbenchError
from store.files import StoredFile
from store.project import Project
from tasks.context import Context
from tasks.params import Params as TaskParams
from tasks.params import option
from tasks.registry import TASKS, Task


class Params(TaskParams):
    """What happens."""

    steps: int = option(1, "How many steps.", ge=0)
    step_s: float = option(0.0, "How long a step takes.", unit="seconds", ge=0)
    deaf: Literal["", "cancel", "swallow", "interrupt", "terminate"] = option(
        "", "The hardest request to stop that it ignores; swallow: an interrupt comes out as another error."
    )
    fails: Literal["", "bad input", "work", "bug", "memory", "device"] = option("", "How it fails after its steps.")
    dies: int = option(0, "The signal that it sends itself after its steps.")
    file: str = option("", "A file that it writes, by the path as given.")
    loud: str = option("", "What it prints and narrates.")


@dataclass(frozen=True)
class Result:
    """One file, recorded in the project."""

    params: Params
    stored: StoredFile

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """Record the file as this job's dictionary."""
        project.db.execute(
            "INSERT INTO dictionary (job_id, name, kind, layer, n_features, objective, file_id, config, metrics)"
            " VALUES (?, ?, 'sae', 0, 1, 'topk', ?, '{}', '{}')",
            [job_id, f"d{job_id}", project.record_file(self.stored)],
        )
        return {"steps": self.params.steps, "pair": (1, 2.5), "pid": os.getpid(), "stored": self.stored.path}


ERRORS: dict[str, BaseException] = {
    "bad input": BadInput("layer 99 is out of range", "the model has layers 0 to 2"),
    "work": WorkbenchError("the loss is not finite", "lower the learning rate"),
    "bug": ZeroDivisionError("division by zero"),
    "memory": MemoryError("no memory"),
    "device": RuntimeError("CUDA error: device-side assert triggered"),
}


def run(params: Params, context: Context) -> Result:
    """Take the steps, then fail, die or write."""
    if params.loud:
        print(params.loud, file=sys.stderr)
        context.progress.note(params.loud)
    if params.deaf == "terminate":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with context.stage("steps", params.steps, "steps") as stage:
        for _ in range(params.steps):
            if params.deaf:
                _sleep_deaf(params)
                context.progress.advance(1)
            else:
                time.sleep(params.step_s)
                stage.advance()
    if params.fails:
        raise ERRORS[params.fails]
    if params.dies:
        os.kill(os.getpid(), params.dies)
    if params.file:
        Path(params.file).write_text("written", encoding="utf-8")
    content = f"{params.model_dump_json()} {time.time_ns()}".encode()
    return Result(params, context.project.files.write("weights", "scripted.bin", lambda path: _write(path, content)))


def _sleep_deaf(params: Params) -> None:
    """Sleep through what is to be ignored."""
    until = time.monotonic() + params.step_s
    while (left := until - time.monotonic()) > 0:
        try:
            time.sleep(left)
        except KeyboardInterrupt:
            if params.deaf == "cancel":
                raise
            if params.deaf == "swallow":
                raise ImportError("half of a module") from None


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def register() -> None:
    """Make it a task of this process."""
    TASKS["scripted"] = Task("scripted", "For tests.", __name__)
