"""One process that works on a project: an advisory lock that the operating system drops when its holder dies.

Over a shared disk some file systems grant the same lock on two nodes. So the holder also touches the lock's file every
few seconds, and a file that another node touched lately is as good as locked. The file server's clock tells its age.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import IO
from weakref import ReferenceType, ref

from store.errors import BadInput, WorkbenchError

LOCK_NAME = "project.lock"
"""The lock's file, in the project directory. It stays; only the lock on it comes and goes."""
SECONDS_BETWEEN_BEATS = 5.0
"""How often the holder touches the lock's file."""
SILENT_AFTER_S = 30.0
"""A holder on another node that has not touched the file for this long is taken for dead."""
_HOLDER = re.compile(r"process (\d+) on (\S+)")


@dataclass(frozen=True)
class WriteLock:
    """A held lock. It ends with `release`, or when every process that has it is gone."""

    stream: IO[str]
    inherited: bool = False
    """Whether another process took it and handed its descriptor down: both hold it, and it lasts as long as either."""
    _released: Event = field(default_factory=Event)
    _threads: list[Thread] = field(default_factory=list)

    @classmethod
    def take(cls, directory: Path) -> WriteLock:
        """Take the project's lock at once, or raise `WorkbenchError` naming who holds it.

        `BadInput` if the directory cannot be written."""
        stream = _opened(directory)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held(directory, stream, "wait for it to end, or stop it") from error
        silent_s = _silent_s(directory, stream)
        if _other_node(_holder(stream)) and silent_s < SILENT_AFTER_S:
            left_s = SILENT_AFTER_S - silent_s
            raise _held(directory, stream, f"stop it there; if it has died, try again in {left_s:.0f} s")
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        lock = cls(stream)
        lock._threads.append(Thread(target=_beat, args=(ref(stream), lock._released), name="lock", daemon=True))
        lock._threads[0].start()
        return lock

    @classmethod
    def from_descriptor(cls, descriptor: int) -> WriteLock:
        """The lock that the parent process took, by the descriptor that it passed on."""
        return cls(os.fdopen(descriptor, "r+", encoding="utf-8"), inherited=True)

    @property
    def descriptor(self) -> int:
        """What a child process is handed so that it holds the lock too."""
        return self.stream.fileno()

    def release(self) -> None:
        """Let the next one in, as far as this process goes."""
        if not self.inherited and not self.stream.closed:
            self._released.set()
            for thread in self._threads:
                thread.join()
            self.stream.truncate(0)
        self.stream.close()


def held_on_other_node(directory: Path) -> str | None:
    """Who holds the project's lock (`process 12 on node7`), if that is a living process of another node; else None."""
    try:
        stream = (directory / LOCK_NAME).open(encoding="utf-8")
    except OSError:
        return None
    with stream:
        holder = _holder(stream)
        return holder if _other_node(holder) and _silent_s(directory, stream) < SILENT_AFTER_S else None


def _opened(directory: Path) -> IO[str]:
    try:
        return (directory / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{directory} cannot be written ({error.strerror})", "copy the project to your own") from error


def _held(directory: Path, stream: IO[str], mend: str) -> WorkbenchError:
    """The refusal that names the holder; closes the stream."""
    holder = _holder(stream) or "another process"
    stream.close()
    return WorkbenchError(f"{directory} is being written by {holder}", mend)


def _holder(stream: IO[str]) -> str:
    stream.seek(0)
    return " ".join(stream.read(200).split())


def _other_node(holder: str) -> bool:
    named = _HOLDER.fullmatch(holder)
    return named is not None and named[2] != socket.gethostname()


def _silent_s(directory: Path, stream: IO[str]) -> float:
    """Seconds since the lock's file was touched, both times taken from the clock of the disk that holds it."""
    with TemporaryFile(dir=directory) as probe:
        probe.write(b".")
        probe.flush()
        return os.fstat(probe.fileno()).st_mtime - os.fstat(stream.fileno()).st_mtime


def _beat(stream: ReferenceType[IO[str]], released: Event) -> None:
    """Touch the file until the lock is released, or forgotten."""
    while not released.wait(SECONDS_BETWEEN_BEATS):
        held = stream()
        if held is None:
            return
        os.utime(held.fileno())
        del held
