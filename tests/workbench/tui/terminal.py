"""A real terminal for the app: a pty whose output is kept, and a process in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_PATIENCE_S = 60.0
_SEQUENCE = re.compile(rb"\x1b\[[0-9;:?<>=$!]*[@-~]|\x1b\]22;[a-z]*(?:\x1b\\|\x07)|\x1b[=>78]|\x1b\([AB0]")
"""What Textual itself sends: CSI sequences, the pointer's shape, keypad modes, charsets."""


@dataclass
class Terminal:
    """`words` running in a pty of `columns` × `lines`."""

    words: Sequence[str]
    columns: int = 120
    lines: int = 40
    environment: Mapping[str, str] = field(default_factory=dict)
    received: bytes = b""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment = inherited | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | dict(self.environment)
        self.process = subprocess.Popen(
            self.words, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def read(self, seconds: float = 0.05) -> bytes:
        """What has come since the last time, after waiting for at most so long."""
        new = b""
        while select.select([self._master], [], [], seconds)[0]:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:  # the process has closed its end
                break
            if not piece:
                break
            new += piece
        self.received += new
        return new

    def until(self, *words: str) -> None:
        """Wait until each of `words` has been drawn since the last call."""
        seen = b""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            seen += self.read()
            plain = _SEQUENCE.sub(b"", seen).decode("utf-8", "replace")
            if all(word in plain for word in words):
                return
        raise AssertionError(f"{words} did not come up; the last that was drawn:\n{plain[-3000:]}")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def ended(self) -> int:
        """Wait for the process to end; its exit code."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        return self.process.wait(timeout=1)


def workbench(*arguments: str) -> list[str]:
    """The command line of the workbench under test."""
    return [sys.executable, "-m", "workbench", *arguments]


def without_own_sequences(received: bytes) -> bytes:
    """What reached the terminal beside Textual's own control sequences."""
    return _SEQUENCE.sub(b"", received)
