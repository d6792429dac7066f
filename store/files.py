"""Files that outlive the process: written whole or not at all, named by content, checked whenever they are read."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import xxhash

from store.errors import Damaged

FOLDERS = ("weights", "activations", "graphs", "logs", "packs")
"""The folders of a project, beside its database."""
_TEMPORARY_PREFIX = ".writing-"
_OWN_NAME = re.compile(r".+-[0-9a-f]{8}([0-9a-f]{8}|[0-9a-f]{24})?(\.[^.]+)?")
_HASH_DIGITS_IN_NAME = (8, 16, 32)
_READ_BYTES = 1 << 20
_BALLAST_NAME = ".ballast"
_BALLAST_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """What a row says of a file: its path relative to the project, its size, and the xxh3-128 of its content (hex)."""

    path: str
    size_bytes: int
    hash: str


@dataclass(frozen=True)
class FileStore:
    """The files of one project directory."""

    directory: Path

    def write(self, folder: str, name: str, writer: Callable[[Path], None]) -> StoredFile:
        """Let `writer` fill a temporary file, make it durable, and give it its final name.

        Eight hex digits of the content hash go before the suffix, so that no content ever replaces another. A file that
        no row names by the next time the project is opened for writing is swept: record it with `Project.record_file`.
        """
        target = self.directory / folder
        target.mkdir(exist_ok=True)
        suffix = Path(name).suffix
        temporary = target / f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}{suffix}"
        try:
            writer(temporary)
            sync(temporary)
            digest = content_hash(temporary)
            size_bytes = temporary.stat().st_size
            final = _free_name(target, Path(name).stem, suffix, digest)
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
        sync(target)
        return StoredFile(final.relative_to(self.directory).as_posix(), size_bytes, digest)

    def verify(self, stored: StoredFile) -> Path:
        """The absolute path of a file whose size and content are as its row says; else `Damaged` names it."""
        path = self.directory / stored.path
        mend = "restore it from a copy or a pack, or run the job that made it again"
        try:
            size_bytes = path.stat().st_size
            if size_bytes != stored.size_bytes:
                raise Damaged(f"{stored.path} has {size_bytes} bytes and should have {stored.size_bytes}", mend)
            if content_hash(path) != stored.hash:
                raise Damaged(f"the content of {stored.path} is not what was written", mend)
        except OSError as error:
            raise Damaged(f"{stored.path} cannot be read ({error.strerror})", mend) from error
        return path

    def sweep(self, known: Collection[str]) -> list[str]:
        """Remove what a killed writer left: temporary files, and files of this store's naming that no row names.

        `known` are the paths in the rows. Files with names of another making, and logs, are left alone. Only for the
        holder of the project's lock. Returns the relative paths that were removed.
        """
        removed: list[str] = []
        for folder in FOLDERS:
            for path in sorted((self.directory / folder).glob("*")):
                relative = path.relative_to(self.directory).as_posix()
                unnamed = folder != "logs" and relative not in known and _OWN_NAME.fullmatch(path.name)
                if path.is_file() and (path.name.startswith(_TEMPORARY_PREFIX) or unnamed):
                    path.unlink()
                    removed.append(relative)
        return removed


def content_hash(path: Path) -> str:
    """The xxh3-128 of a file's content as 32 hex digits, read in pieces."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while piece := stream.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold_ballast(directory: Path) -> None:
    """Keep 1 MiB in reserve, because on a full disk SQLite needs room even to say that a job failed."""
    ballast = directory / _BALLAST_NAME
    if ballast.exists() and ballast.stat().st_size == _BALLAST_BYTES:
        return
    try:
        ballast.write_bytes(bytes(_BALLAST_BYTES))
    except OSError as error:
        ballast.unlink(missing_ok=True)
        if not is_disk_full(error):
            raise


def release_ballast(directory: Path) -> None:
    """Give the reserve back; the next opening for writing takes it again if there is room."""
    (directory / _BALLAST_NAME).unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the operating system, of SQLite or of safetensors says that there is no room left."""
    full = (errno.ENOSPC, errno.EDQUOT)
    said = str(error).lower()
    return getattr(error, "errno", None) in full or "no space left" in said or "disk is full" in said


def _free_name(folder: Path, stem: str, suffix: str, digest: str) -> Path:
    """The final path for content with that hash: the short name, unless sound content of another hash has it."""
    for digits in _HASH_DIGITS_IN_NAME:
        path = folder / f"{stem}-{digest[:digits]}{suffix}"
        if not path.exists():
            break
        present = content_hash(path)
        if present == digest or not present.startswith(digest[:digits]):  # the same, or damaged: replaced
            break
    return path
