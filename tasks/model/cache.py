"""Where converted weights are kept, and how a directory gets there whole or not at all.

A converted model is a directory of safetensors under the user's cache, named after the hash of what it was made from.
It is written to a temporary neighbour, sealed with a list of its files' hashes, and renamed; a reader that finds the
seal broken makes it again. Nothing here imports torch, so that `doctor` can ask.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from store.files import content_hash

SEAL = "sealed.json"
"""Name of the file that lists every other file's content hash."""


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/workbench`, or `~/.cache/workbench`."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "workbench"


def directory_hash(directory: Path, names: Iterable[str]) -> str:
    """One xxh3-128 (hex) of the named files: of their sorted names and contents."""
    digest = xxhash.xxh3_128()
    for name in sorted(names):
        digest.update(f"{name}\0{content_hash(directory / name)}\n".encode())
    return digest.hexdigest()


def is_sealed(directory: Path) -> bool:
    """Whether every file that the seal lists is there with the content it had."""
    try:
        listed: dict[str, str] = json.loads((directory / SEAL).read_text("utf-8"))
        return all(content_hash(directory / name) == value for name, value in listed.items())
    except (OSError, ValueError, AttributeError):
        return False


def build_once(directory: Path, build: Callable[[Path], None]) -> Path:
    """The sealed `directory`; if it is not there or damaged, `build` fills a temporary one that takes its place.

    Processes that want the same directory wait for each other.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _locked(directory.parent / f"{directory.name}.lock"):
        if is_sealed(directory):
            return directory
        temporary = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", suffix=".part", dir=directory.parent))
        try:
            build(temporary)
            _seal(temporary)
            if directory.exists():
                shutil.rmtree(directory)
            temporary.rename(directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _seal(directory: Path) -> None:
    hashes = {path.name: content_hash(path) for path in sorted(directory.iterdir())}
    (directory / SEAL).write_text(json.dumps(hashes, indent=1), "utf-8")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
