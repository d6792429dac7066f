"""The worker's socket: who may speak, lines in, answers and announcements out. What is answered is the supervisor's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pysqlite3

from store.errors import BadInput, WorkbenchError
from workbench import VERSION
from workbench.worker.protocol import LINE_LIMIT_BYTES, Request, check_hello, decode, encode, hello, read_request
from workbench.worker.runtime_directory import peer_is_owner

_SKIP_PROGRESS_OVER_BYTES = 1 << 16
_DROP_CLIENT_OVER_BYTES = 8 << 20
_LONGEST_GOODBYE_S = 1.0
Answer = Callable[[Request, "Connection"], Awaitable[Mapping[str, Any]]]


@dataclass(eq=False)
class Connection:
    """One client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    job: int | None = None
    """The job whose announcements it has asked for; 0 for every job's, None for none."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a line for the client. One that reads nothing is let go, and can subscribe again."""
        if self.writer.is_closing():
            return
        self.writer.write(encode(message))
        if self.writer.transport.get_write_buffer_size() > _DROP_CLIENT_OVER_BYTES:
            self.writer.transport.abort()

    def announce(self, job: int, message: Mapping[str, Any], skippable: bool = False) -> None:
        """Send what happened to a job, if the client asked for it; progress is skipped while it is slow to read."""
        slow = self.writer.transport.get_write_buffer_size() > _SKIP_PROGRESS_OVER_BYTES
        if self.job in (0, job) and not (skippable and slow):
            self.send(message)

    async def line(self) -> bytes:
        """The next line, empty at the end; `BadInput` for one that is too long, which is passed over."""
        too_long = False
        while True:
            try:
                line = await self.reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return b""
            except asyncio.LimitOverrunError as error:
                await self.reader.readexactly(error.consumed)
                too_long = True
                continue
            if too_long:
                raise BadInput(f"a line of more than {LINE_LIMIT_BYTES} bytes", "send less at a time")
            return line


@dataclass
class Server:
    """The listening socket and everyone connected to it."""

    path: Path
    answer: Answer
    facts: Mapping[str, Any]
    """What the hello says beside protocol and version."""
    connections: set[Connection] = field(default_factory=set)
    _handlers: set[asyncio.Task[Any]] = field(default_factory=set)
    _listening: asyncio.Server | None = None
    _inode: int = 0

    async def start(self) -> None:
        """Listen. Only for the holder of the project's lock: a socket that is in the way is a dead worker's."""
        self.path.unlink(missing_ok=True)
        self._listening = await asyncio.start_unix_server(self._serve, self.path, limit=LINE_LIMIT_BYTES)
        self.path.chmod(0o600)
        self._inode = self.path.stat().st_ino

    async def close(self) -> None:
        """Stop listening and let everyone go; the socket goes too, unless another worker has put its own there."""
        if self._listening is not None:
            self._listening.close()
        for connection in list(self.connections):
            connection.writer.close()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=_LONGEST_GOODBYE_S)
        if self.path.exists() and self.path.stat().st_ino == self._inode:
            self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        handler = asyncio.current_task()
        if handler is not None:
            self._handlers.add(handler)
            handler.add_done_callback(self._handlers.discard)
        try:
            if peer_is_owner(writer.get_extra_info("socket")):
                await self._converse(connection)
        except ConnectionError:  # the client is gone; its jobs are not
            pass
        finally:
            self.connections.discard(connection)
            writer.close()

    async def _converse(self, connection: Connection) -> None:
        connection.send(hello(VERSION, **self.facts))
        try:
            check_hello(decode(await connection.line() or b"null"))
        except WorkbenchError as error:
            connection.send({"re": 0, "error": str(error), "exit_code": error.exit_code})
            await connection.writer.drain()
            return
        self.connections.add(connection)
        while await self._answered(connection):
            await connection.writer.drain()

    async def _answered(self, connection: Connection) -> bool:
        """Answer one line; False at the end of the conversation."""
        number = 0
        try:
            line = await connection.line()
            if not line:
                return False
            request = read_request(line)
            number = request.number
            connection.send({"re": number, **await self.answer(request, connection)})
        except WorkbenchError as error:
            connection.send({"re": number, "error": str(error), "exit_code": error.exit_code})
        except pysqlite3.Error as error:
            connection.send({"re": number, "error": f"the project's database says: {error}", "exit_code": 1})
        return True
