"""`python -m tests.workbench.worker.scripted_worker DIR OPTIONS`: a worker whose child knows the scripted task.

It prints one line once it listens. From a test, `running_worker` starts one and ends it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store import database
from store.errors import WorkbenchError
from tests.workbench.worker.scripted_task import register
from workbench.worker.daemon import run_worker
from workbench.worker.supervisor import Patience, WorkerOptions

CHILD = "tests.workbench.worker.scripted_child"
PATIENCE = Patience(0.5, 2.5, 4.5)


def start(directory: Path, child: str = CHILD, **options: Any) -> subprocess.Popen[str]:
    """Start a worker; its first line on stdout is `listens`, or why it does not."""
    said = json.dumps({"child_module": child, **options})
    command = [sys.executable, "-m", __name__, str(directory), said]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """What the worker says first."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def running_worker(directory: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A worker that listens; it is gone afterwards, however the test ended."""
    process = start(directory, **options)
    try:
        assert first_line(process) == "listens"
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def main(directory: Path, options: dict[str, Any]) -> None:
    """Be the worker; with `refuse_wal` on a file system that has no WAL."""
    register()
    if options.pop("refuse_wal", False):
        database._wal_works = lambda directory: False
    try:
        run_worker(directory, WorkerOptions(patience=PATIENCE, **options), lambda: print("listens", flush=True))
    except WorkbenchError as error:
        print(error, flush=True)
        os._exit(error.exit_code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
