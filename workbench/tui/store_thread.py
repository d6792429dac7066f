"""The project's store as the app reaches it: one thread that reads, one that notes, and none that blocks a frame."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pysqlite3

from store.errors import BadInput, Cancelled, WorkbenchError

if TYPE_CHECKING:
    from store.project import Project

T = TypeVar("T")
_SECONDS_BETWEEN_LOOKS = 0.25


class StoreThread:
    """Reads and notes of one project, awaited by the app.

    What a function gets is an open `Project` of that thread; what it returns must not hold on to it.
    """

    def __init__(self, directory: Path, changed: Callable[[], object], read_only: bool = False) -> None:
        """`changed` is called, from a thread, after another connection has written to the database."""
        self.directory = directory
        self.read_only = read_only
        self._changed = changed
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="store-read")
        self._noting = ThreadPoolExecutor(1, thread_name_prefix="store-note")
        self._open: Project | None = None
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._look, name="store-watch", daemon=True)

    async def read(self, function: Callable[[Project], T]) -> T:
        """What `function` reads; raises what it raises. Runs after the reads that were asked for before."""
        return await _run_in(self._reading, self._with_reader, function)

    async def note(self, function: Callable[[Project], T]) -> T:
        """Write rows (a label, a supernode, a finding) in one transaction; `BadInput` for a follower."""
        if self.read_only:
            raise BadInput("this terminal only follows", "do it in the other one, or open the app without --follow")
        return await _run_in(self._noting, self._with_writer, function)

    def note_soon(self, function: Callable[[Project], object]) -> None:
        """Write rows without waiting: state of the screen. What goes wrong is not told."""
        if not self.read_only and not self._stopped.is_set():
            self._noting.submit(self._quietly, function)

    def start(self) -> None:
        """Begin to look for what others write."""
        self._watch.start()

    def close(self) -> None:
        """Finish what is being noted, drop what waits to be read, and close."""
        self._stopped.set()
        self._noting.shutdown(wait=True)
        with suppress(RuntimeError):
            self._reading.submit(self._close_reader)
        self._reading.shutdown(wait=True)

    def _with_reader(self, function: Callable[[Project], T]) -> T:
        from store.project import Project

        if self._open is None:
            self._open = Project.open(self.directory, write=False)
        return function(self._open)

    def _close_reader(self) -> None:
        if self._open is not None:
            self._open.close()

    def _with_writer(self, function: Callable[[Project], T]) -> T:
        from store.project import Project

        with Project.open(self.directory, write=True, work=False) as project, project.transaction():
            return function(project)

    def _quietly(self, function: Callable[[Project], object]) -> None:
        with suppress(WorkbenchError, pysqlite3.Error, OSError):
            self._with_writer(function)

    def _look(self) -> None:
        """Tell when the database's version moves: a write by anybody but this connection, which writes nothing."""
        from store.project import Project

        with suppress(WorkbenchError, pysqlite3.Error, OSError), Project.open(self.directory, write=False) as project:
            seen = None
            while not self._stopped.wait(_SECONDS_BETWEEN_LOOKS):
                version = project.db.execute("PRAGMA data_version").fetchone()[0]
                if seen is not None and version != seen:
                    self._changed()
                seen = version


async def _run_in(
    thread: ThreadPoolExecutor, work: Callable[[Callable[[Project], T]], T], function: Callable[[Project], T]
) -> T:
    """What `work` makes of `function` in that thread; `Cancelled` once the store is closed."""
    try:
        running = asyncio.get_running_loop().run_in_executor(thread, work, function)
    except RuntimeError as error:
        raise Cancelled("the app has ended", "open it again") from error
    return await running
