"""An OpenAI-compatible endpoint of our own, in a thread: what it answers is a function of what it is asked."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tasks.labelling.passages import CLOSE, OPEN

LABEL = "words with a seven"
Answer = Callable[[str], str]


class FakeJudge(ThreadingHTTPServer):
    """Remembers every request; answers what `answer` says, after what `before` does."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        """Listen on a free port of this machine."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.statuses: list[int] = []
        """Statuses of the next answers; 200 when used up."""
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None
        """Sent instead of a proper answer."""
        self.stuck = threading.Event()
        """An answer begins, and its end waits for this; set, it waits for nothing."""
        self.stuck.set()
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: FakeJudge

    def do_POST(self) -> None:
        judge = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        judge.asked.append(request)
        judge.keys.append(self.headers.get("Authorization"))
        status = judge.statuses.pop(0) if judge.statuses else 200
        content = judge.answer(request["messages"][-1]["content"])
        body = judge.body or json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(status)
        for name, value in judge.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1])
        judge.stuck.wait()
        self.wfile.write(body[1:])

    def log_message(self, *_said: Any) -> None:
        """Nothing on stderr."""


def by_words(request: str) -> str:
    """A label to whoever asks for one; else 1 for every text that has a 7 (in its marks, if it has marks)."""
    texts = re.findall(r"^\d+\. (.*)$", request, re.M)
    if "JSON list" not in request:
        return f'Label: "{LABEL}."'
    pieces = [" ".join(re.findall(rf"{OPEN}(.*?){CLOSE}", text)) if OPEN in text else text for text in texts]
    return f"Here you are: {json.dumps([int('7' in piece) for piece in pieces])}"


@contextmanager
def fake_judge(answer: Answer = by_words) -> Iterator[FakeJudge]:
    """Serve for as long as the block lasts."""
    judge = FakeJudge(answer)
    thread = threading.Thread(target=judge.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        judge.stuck.set()
        judge.shutdown()
        judge.server_close()
        thread.join()
