"""A hub on this machine: from a directory of repositories, the few answers that fetching a file needs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)
GATED = "org/gated"


class _Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.root = root
        self.fetched: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: _Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if api else parts
        repository = self.server.root / owner / name
        if f"{owner}/{name}" == GATED:
            self._refuse(403, "GatedRepo")
        elif not repository.is_dir():
            self._refuse(404, "RepoNotFound")
        elif len(rest) > 1 and rest[1] not in REVISIONS:
            self._refuse(404, "RevisionNotFound")
        elif api:
            files = sorted(path for path in repository.rglob("*") if path.is_file())
            listed = [{"rfilename": str(each.relative_to(repository))} for each in files]
            document = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": listed}
            self._answer(json.dumps(document).encode(), {"Content-Type": "application/json"})
        elif not (file := repository.joinpath(*rest[2:])).is_file():
            self._refuse(404, "EntryNotFound")
        else:
            content = file.read_bytes()
            if self.command == "GET":
                self.server.fetched.append(file.name)
            self._answer(content, {"ETag": f'"{sha256(content).hexdigest()}"'})

    def _answer(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(b"", {"X-Error-Code": code}, status)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve root/org/name as repositories; gives the address, and the names of the files fetched so far."""
    server = _Hub(root)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.fetched
    finally:
        server.shutdown()
        server.server_close()
