"""Starting a worker: here in the foreground, or away from the terminal in a session of its own.

`python -m workbench.worker.daemon READY PROJECT OPTIONS` is the launcher: it forks once more and ends, so that
the worker is no child of the terminal and leads no session. On the pipe `READY` it says that it listens, or why not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from store.errors import Reported, WorkbenchError
from store.project import Project
from workbench.worker.runtime_directory import address_of
from workbench.worker.supervisor import Patience, Supervisor, WorkerOptions

_LOG_LINE = "%(asctime)s %(message)s"


def run_worker(directory: Path, options: WorkerOptions, started: Callable[[], None]) -> None:
    """Be the worker of the project in that directory until asked to stop; `started` is called once it listens.

    Raises `WorkbenchError` naming the holder if another process works on the project.
    """
    address = address_of(directory)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with address.log.open("ab", buffering=0) as log, Project.open(directory, write=True) as project:
        logger = logging.getLogger("workbench.worker")
        handler = logging.FileHandler(address.log, encoding="utf-8")
        handler.setFormatter(logging.Formatter(_LOG_LINE))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            asyncio.run(Supervisor(project, options, log).run(started))
        finally:
            logger.removeHandler(handler)
            handler.close()


def start_worker(directory: Path, options: WorkerOptions) -> int:
    """Start a worker that outlives this process and its terminal; its process id, once it listens.

    Raises what the worker could not start for.
    """
    ready, said = os.pipe()
    words = [sys.executable, "-m", "workbench.worker.daemon", str(said), str(directory.resolve())]
    with os.fdopen(ready, "rb") as answer, address_of(directory).log.open("ab") as log:
        try:
            launcher = subprocess.Popen(
                [*words, json.dumps(asdict(options))],
                pass_fds=(said,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(said)
        launcher.wait()
        line = answer.read()
    if not line:
        raise WorkbenchError("the worker did not start", f"{address_of(directory).log} says why")
    message: dict[str, Any] = json.loads(line)
    if "error" in message:
        raise Reported(message["error"], message["exit_code"])
    return int(message["pid"])


def ended_at_logout() -> bool:
    """Whether the login manager of this machine ends a person's processes when they log out."""
    with suppress(OSError):
        words = Path("/etc/systemd/logind.conf").read_text(encoding="utf-8").split()
        lingers = Path(f"/var/lib/systemd/linger/{os.environ.get('USER', '')}").is_file()
        return "KillUserProcesses=yes" in words and not lingers
    return False


def main(arguments: list[str]) -> None:
    """The launcher, and after its fork the worker."""
    if os.fork():
        os._exit(0)  # the worker is init's now
    ready, directory = int(arguments[0]), Path(arguments[1])
    options = json.loads(arguments[2])
    options["patience"] = Patience(**options["patience"])

    def say(message: dict[str, Any]) -> None:
        with os.fdopen(ready, "wb") as pipe:
            pipe.write(json.dumps(message).encode())

    try:
        run_worker(directory, WorkerOptions(**options), lambda: say({"pid": os.getpid()}))
    except WorkbenchError as error:
        say({"error": str(error), "exit_code": error.exit_code})


if __name__ == "__main__":
    main(sys.argv[1:])
