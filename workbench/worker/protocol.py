"""What passes over the sockets: one JSON object a line, ids and never tensors.

A connection opens with one `hello` from each side. After that a client sends requests, each with an `op` and a `number`
that the answer repeats as `re`, and gets announcements (`event`, `progress`, `note`, `started`) if it has subscribed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.errors import BadInput

PROTOCOL = 1
"""The version of this protocol; both sides must have the same."""
LINE_LIMIT_BYTES = 1 << 20
"""A longer line is refused."""
OPERATIONS = ("status", "submit", "cancel", "reprioritise", "subscribe", "resume", "load", "unload", "shutdown")
"""What a client can ask for."""
_MEND = "one JSON object a line, as docs/worker.md says"


@dataclass(frozen=True)
class Request:
    """One request of a client."""

    op: str
    number: int
    arguments: Mapping[str, Any]

    def integer(self, name: str, default: int | None = None) -> int:
        """An argument that must be a whole number; `BadInput` if it is not."""
        value = self.arguments.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadInput(f"{self.op} needs a number {name!r}", _MEND)
        return value

    def text(self, name: str) -> str:
        """An argument that must be text; `BadInput` if it is not."""
        value = self.arguments.get(name)
        if not isinstance(value, str):
            raise BadInput(f"{self.op} needs a text {name!r}", _MEND)
        return value


def encode(message: Mapping[str, Any]) -> bytes:
    """The line of one message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line; `BadInput` if it is no JSON object."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput("the line is not JSON", _MEND) from error
    if not isinstance(message, dict):
        raise BadInput("the line is not a JSON object", _MEND)
    return message


def read_request(line: bytes) -> Request:
    """The request of one line; `BadInput` says what is wrong with it."""
    message = decode(line)
    op, number = message.get("op"), message.get("number", 0)
    if op not in OPERATIONS:
        raise BadInput(f"no operation {op!r}"[:200], f"the operations are {', '.join(OPERATIONS)}")
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadInput("a request's number is no number", _MEND)
    return Request(op, number, message)


def hello(version: str, **facts: Any) -> dict[str, Any]:
    """The first line of each side."""
    return {"hello": {"protocol": PROTOCOL, "version": version, **facts}}


def check_hello(message: Mapping[str, Any]) -> dict[str, Any]:
    """What the other side says of itself; `BadInput` if it does not speak this protocol."""
    said = message.get("hello")
    if not isinstance(said, dict) or said.get("protocol") != PROTOCOL:
        other = said.get("protocol") if isinstance(said, dict) else None
        raise BadInput(
            f"the worker's protocol is {PROTOCOL} on one side and {other} on the other",
            "`workbench worker stop` with the workbench that started it, then start it again",
        )
    return said
