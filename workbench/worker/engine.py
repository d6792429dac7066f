"""The supervisor's end of the model child: start it, order it, hear it, end it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from workbench.worker.protocol import LINE_LIMIT_BYTES, decode, encode

CHILD_MODULE = "workbench.worker.child_process"
"""What the child runs."""


@dataclass
class Engine:
    """A living child process."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ready: bool = False
    """Whether it has said that it takes orders."""

    @classmethod
    async def start(cls, project: Path, lock: int, log: IO[bytes], module: str = CHILD_MODULE) -> Engine:
        """Start a child on `project` that inherits the lock's descriptor; what it prints outside jobs goes to `log`."""
        ours, theirs = socket.socketpair()
        with theirs:
            numbers = [str(theirs.fileno()), str(lock), str(os.getpid())]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *numbers, str(project)),
                pass_fds=(theirs.fileno(), lock),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT_BYTES)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.process.pid

    def order(self, order: str, **arguments: Any) -> None:
        """Send an order; a dead child's orders go nowhere, and its death is heard elsewhere."""
        if not self.writer.is_closing():
            self.writer.write(encode({"order": order, **arguments}))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the child says, until it dies."""
        try:
            while line := await self.reader.readline():
                yield decode(line)
        except (ConnectionError, ValueError):  # it died in the middle, or speaks nonsense: either way it is over
            return

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the child; for SIGKILL, to everything that it started too."""
        if self.process.returncode is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    async def gone(self) -> str:
        """Wait for its end and say how it ended."""
        self.writer.close()
        code = await self.process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def end(self, patience_s: float) -> None:
        """Ask it to quit between jobs; after `patience_s` it is killed."""
        self.order("quit")
        try:
            await asyncio.wait_for(self.process.wait(), patience_s)
        except TimeoutError:
            self.kill(signal.SIGKILL)
        await self.gone()
