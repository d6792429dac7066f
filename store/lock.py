"""One writer a project: an advisory lock that the operating system drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from store.errors import BadInput, WorkbenchError

LOCK_NAME = "project.lock"
"""The lock's file, in the project directory. It stays; only the lock on it comes and goes."""


@dataclass(frozen=True)
class WriteLock:
    """A held lock. It ends with `release`, or with the process."""

    stream: IO[str]

    @classmethod
    def take(cls, directory: Path) -> WriteLock:
        """Take the project's lock at once, or raise `WorkbenchError` naming who holds it.

        `BadInput` if the directory cannot be written."""
        try:
            stream = (directory / LOCK_NAME).open("a+", encoding="utf-8")
        except OSError as error:
            raise BadInput(
                f"{directory} cannot be written ({error.strerror})", "copy the project to your own"
            ) from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = " ".join(stream.read(200).split()) or "another process"
            stream.close()
            raise WorkbenchError(
                f"{directory} is being written by {holder}", "wait for it to end, or stop it"
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        return cls(stream)

    def release(self) -> None:
        """Let the next writer in."""
        self.stream.close()
