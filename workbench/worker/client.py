"""A person's end of the worker's socket, for programs that wait: the command line, scripts."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from store.errors import Missing, Reported, WorkbenchError
from workbench import VERSION
from workbench.worker.protocol import check_hello, decode, encode, hello
from workbench.worker.runtime_directory import address_of

_LONGEST_ANSWER_S = 30.0
_PIECE_BYTES = 1 << 16


@dataclass
class WorkerClient:
    """A connection to the worker of one project; a context manager that closes it."""

    connection: socket.socket
    facts: dict[str, Any] = field(default_factory=dict)
    """What the worker said of itself: `protocol`, `version`, `pid`, `host`."""
    _number: int = 0
    _received: bytearray = field(default_factory=bytearray)
    _announced: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def connect(cls, project: Path) -> Self | None:
        """The worker of the project in that directory; None if none runs. Raises what `check_hello` raises."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(address_of(project).socket))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        client = cls(connection)
        try:
            connection.sendall(encode(hello(VERSION)))
            client.facts = check_hello(client._message(_LONGEST_ANSWER_S) or {})
        except BaseException:
            connection.close()
            raise
        return client

    @classmethod
    def require(cls, project: Path) -> Self:
        """The worker of the project; `Missing` if none runs."""
        client = cls.connect(project)
        if client is None:
            raise Missing(f"no worker runs on {project}", "`workbench worker start` starts one")
        return client

    def ask(self, op: str, patience_s: float = _LONGEST_ANSWER_S, **arguments: Any) -> dict[str, Any]:
        """Ask, and wait so long for the answer; announcements that come meanwhile are kept.

        Raises `Reported` with what the worker refuses, `Missing` if it goes before it has answered.
        """
        self._number += 1
        try:
            self.connection.sendall(encode({"op": op, "number": self._number, **arguments}))
            return self._answer(patience_s)
        except (EOFError, ConnectionError) as error:
            raise Missing("the worker has gone", "`workbench worker start` starts another") from error

    def _answer(self, patience_s: float) -> dict[str, Any]:
        """The answer to the last question."""
        deadline = time.monotonic() + patience_s
        while True:
            message = self._message(deadline - time.monotonic())
            if message is None:
                raise WorkbenchError("the worker does not answer", "`workbench worker logs` may say why")
            if "re" not in message:
                self._announced.append(message)
            elif "error" in message and message["re"] in (0, self._number):
                raise Reported(message["error"], message["exit_code"])
            elif message["re"] == self._number:
                return message

    def announcement(self, timeout_s: float) -> dict[str, Any] | None:
        """The next announcement, or None if none comes in time. Raises `EOFError` when the worker has gone."""
        if self._announced:
            return self._announced.pop(0)
        message = self._message(timeout_s)
        return None if message is None or "re" in message else message

    def close(self) -> None:
        """Hang up; what runs goes on."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _message(self, timeout_s: float) -> dict[str, Any] | None:
        """The next line, read; None if there is none in time."""
        deadline = time.monotonic() + timeout_s
        while (end := self._received.find(b"\n")) < 0:
            left_s = max(deadline - time.monotonic(), 0.0)
            if not select.select([self.connection], [], [], left_s)[0]:
                return None
            try:
                piece = self.connection.recv(_PIECE_BYTES)
            except ConnectionError as error:
                raise EOFError("the worker has gone") from error
            if not piece:
                raise EOFError("the worker has gone")
            self._received += piece
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return decode(line)
