"""The container of a reproduction pack: a zip in which every byte is accounted for.

`manifest-sha256.txt` names every other file with its SHA-256, in the form that `sha256sum -c` reads. Nothing of a pack
reaches its directory before all of it has been checked: a pack comes from another machine.
"""

from __future__ import annotations

import glob
import hashlib
import re
import secrets
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from store.crate import METADATA_NAME, Provenance, crate_metadata
from store.errors import BadInput, Damaged, WorkbenchError
from store.files import is_disk_full, sync

MANIFEST_NAME = "manifest-sha256.txt"
"""The list of every other file and its SHA-256."""
MAX_RATIO = 100
"""Unpacked bytes a packed byte, beyond which an entry is taken for a bomb."""
MAX_ENTRIES = 100_000
"""Files in one pack."""
_RATIO_FLOOR_BYTES = 1 << 20
_PIECE_BYTES = 1 << 20
_MAX_NAME_BYTES = 200
_MAX_PATH_BYTES = 1000
_MAX_MANIFEST_BYTES = 1 << 26
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_STORED_SUFFIXES = {".safetensors", ".zip", ".gz", ".png"}
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, OSError)
_MEND = "get the pack again from who made it"


def write_pack(target: Path, contents: Mapping[str, Path | bytes], provenance: Provenance) -> None:
    """Write a pack of `contents` (archive path to a file or its bytes), with its metadata and manifest.

    The same contents give the same bytes. `target` appears whole or not at all; an earlier pack there is replaced,
    anything else is `BadInput`.
    """
    for name in contents:
        _refuse_name(name)
        if name in (MANIFEST_NAME, METADATA_NAME):
            raise BadInput(f"{name} is written by the pack itself", "give the file another name")
    if target.exists() and not _is_pack(target):
        raise BadInput(f"{target} exists and is no pack", "choose another name")
    sizes = {name: _size_bytes(source) for name, source in contents.items()}
    complete = {**contents, METADATA_NAME: crate_metadata(provenance, sizes)}
    half = f".{target.name}.writing-"
    for left in target.parent.glob(f"{glob.escape(half)}*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    temporary = target.with_name(f"{half}{secrets.token_hex(4)}")
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            hashes = {name: _add(archive, name, complete[name]) for name in sorted(complete)}
            manifest = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
            _add(archive, MANIFEST_NAME, manifest.encode())
        sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync(target.absolute().parent)


def verify_pack(pack: Path) -> dict[str, str]:
    """Check every entry against the manifest without writing anything; returns archive path to SHA-256."""
    with _opened(pack) as archive:
        manifest = _checked_manifest(pack, archive)
        for name, digest in manifest.items():
            _check_entry(archive, name, digest, lambda piece: None)
    return manifest


def read_entry(pack: Path, name: str) -> bytes:
    """The content of one small entry of a safe archive, checked against the manifest."""
    pieces: list[bytes] = []
    with _opened(pack) as archive:
        manifest = _checked_manifest(pack, archive)
        if name not in manifest:
            raise Damaged(f"{pack} has no {name}", "name a pack that this workbench, or a newer one, made")
        if archive.getinfo(name).file_size > _MAX_MANIFEST_BYTES:
            raise BadInput(f"{name!r} is larger than {_MAX_MANIFEST_BYTES} bytes", _MEND)
        _check_entry(archive, name, manifest[name], pieces.append)
    return b"".join(pieces)


def unpack(pack: Path, directory: Path) -> dict[str, str]:
    """Check a pack and unpack it into `directory`, which must be empty or not there; returns path to SHA-256.

    Everything is extracted beside the directory and checked on the way; only then does it get its name. Raises
    `Damaged` or `BadInput` with nothing left on the disk.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadInput(f"{directory} is not empty", "choose a new directory")
    directory = directory.resolve()
    existing = next(path for path in directory.parents if path.exists())
    temporary = existing / f".{directory.name}.unpacking-{secrets.token_hex(4)}"
    with _opened(pack) as archive:
        manifest = _checked_manifest(pack, archive)
        _require_room(existing, sum(info.file_size for info in archive.infolist()))
        try:
            temporary.mkdir()
            for name, digest in manifest.items():
                _extract(archive, name, digest, temporary)
            (temporary / MANIFEST_NAME).write_bytes(archive.read(MANIFEST_NAME))
            directory.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    sync(directory.parent)
    return manifest


def _is_pack(path: Path) -> bool:
    """Whether a file is a zip with a manifest, so that a new pack may take its place."""
    if not zipfile.is_zipfile(path):
        return False
    with _opened(path) as archive:
        return MANIFEST_NAME in archive.namelist()


def _add(archive: zipfile.ZipFile, name: str, source: Path | bytes) -> str:
    """Write one entry with nothing in its header that changes from run to run; returns its SHA-256."""
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_STORED if _is_better_stored(name, source) else zipfile.ZIP_DEFLATED
    digest = hashlib.sha256()
    with archive.open(info, "w", force_zip64=True) as entry:
        for piece in _pieces(source):
            digest.update(piece)
            entry.write(piece)
    return digest.hexdigest()


def _is_better_stored(name: str, source: Path | bytes) -> bool:
    """Whether deflating gains nothing, or so much that a reader would take the entry for a bomb."""
    if PurePosixPath(name).suffix in _STORED_SUFFIXES:
        return True
    if (size_bytes := _size_bytes(source)) <= _RATIO_FLOOR_BYTES:
        return False
    deflater = zlib.compressobj()
    packed_bytes = sum(len(deflater.compress(piece)) for piece in _pieces(source)) + len(deflater.flush())
    return size_bytes > MAX_RATIO // 2 * packed_bytes


def _size_bytes(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _pieces(source: Path | bytes) -> Iterator[bytes]:
    """The content in pieces of at most 1 MiB."""
    if isinstance(source, bytes):
        for start in range(0, len(source), _PIECE_BYTES):
            yield source[start : start + _PIECE_BYTES]
        return
    with source.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


@contextmanager
def _opened(pack: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, with every way in which a zip can be unreadable said as one `Damaged`."""
    if not pack.is_file():
        raise BadInput(f"no file {pack}", "name a pack that `workbench pack` made")
    try:
        with zipfile.ZipFile(pack) as archive:
            yield archive
    except _UNREADABLE as error:
        if is_disk_full(error):
            raise WorkbenchError(f"no room left for {pack}", "make room or choose another disk") from error
        raise Damaged(f"{pack} cannot be read as a pack ({_one_line(error)})", _MEND) from error


def _checked_manifest(pack: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    """The manifest of an archive whose entries are all safe to unpack and all named in it."""
    entries = archive.infolist()
    _refuse_bomb(pack, entries)
    for info in entries:
        _refuse_entry(info)
    names = [info.filename for info in entries]
    _refuse_clashes(names)
    if MANIFEST_NAME not in names:
        raise Damaged(f"{pack} has no {MANIFEST_NAME}", "name a pack that `workbench pack` made")
    manifest = _read_manifest(archive)
    for name in sorted(set(names) - {MANIFEST_NAME} ^ manifest.keys()):
        fault = "is missing from the pack" if name in manifest else "is in the pack and not in its manifest"
        raise Damaged(f"{name!r} {fault}", _MEND)
    return manifest


def _refuse_bomb(pack: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse what would unpack to far more than it says, one entry alone or all together."""
    if len(entries) > MAX_ENTRIES:
        raise BadInput(f"{pack} holds {len(entries)} files, more than {MAX_ENTRIES}", _MEND)
    archive_bytes = pack.stat().st_size
    pairs = [(repr(info.filename), info.file_size, info.compress_size) for info in entries]
    for name, unpacked, packed in [*pairs, (str(pack), sum(size for _, size, _ in pairs), archive_bytes)]:
        if unpacked > _RATIO_FLOOR_BYTES and unpacked > MAX_RATIO * packed:
            raise BadInput(f"{name} would unpack to {unpacked} bytes from {packed}, which no pack does", _MEND)


def _refuse_entry(info: zipfile.ZipInfo) -> None:
    """Refuse an entry that is anything but a plain, unencrypted file with a safe name."""
    if info.orig_filename != info.filename:
        raise BadInput(f"{info.orig_filename!r} is no name for a file", _MEND)
    _refuse_name(info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.is_dir():
        raise BadInput(f"{info.filename!r} is a link or another special file", _MEND)
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadInput(f"{info.filename!r} is encrypted or packed in an unknown way", _MEND)


def _refuse_name(name: str) -> None:
    """Refuse an archive path that could leave its directory, or that a terminal or a file system would misread."""
    parts = name.split("/")
    unsafe = any(part in ("", ".", "..") for part in parts) or any(mark in name for mark in "\\:")
    lengths = [len(part.encode("utf-8", "replace")) for part in parts]
    too_long = max(lengths) > _MAX_NAME_BYTES or sum(lengths) > _MAX_PATH_BYTES
    if unsafe or too_long or not name.isprintable():
        raise BadInput(f"{name[:200]!r} is no relative path of plain names", _MEND)


def _refuse_clashes(names: list[str]) -> None:
    """Refuse names that fall together on any file system, and a file that is also a directory."""
    folded = [unicodedata.normalize("NFC", name).casefold() for name in names]
    seen: set[str] = set()
    for name, key in zip(names, folded, strict=True):
        if key in seen:
            raise BadInput(f"{name!r} is in the pack twice", _MEND)
        seen.add(key)
    for name, key in zip(names, folded, strict=True):
        if any(str(parent) in seen for parent in PurePosixPath(key).parents):
            raise BadInput(f"{name!r} lies in what is also a file", _MEND)


def _read_manifest(archive: zipfile.ZipFile) -> dict[str, str]:
    """Archive path to SHA-256, as the pack's manifest says."""
    if archive.getinfo(MANIFEST_NAME).file_size > _MAX_MANIFEST_BYTES:
        raise BadInput(f"{MANIFEST_NAME} is larger than {_MAX_MANIFEST_BYTES} bytes", _MEND)
    manifest: dict[str, str] = {}
    for line in archive.read(MANIFEST_NAME).decode("utf-8").splitlines():
        match = _MANIFEST_LINE.fullmatch(line)
        if match is None or match[2] in manifest:
            raise Damaged(f"{MANIFEST_NAME} has a line that cannot be read: {line[:100]!r}", _MEND)
        manifest[match[2]] = match[1]
    return manifest


def _check_entry(archive: zipfile.ZipFile, name: str, digest: str, use: Callable[[bytes], object]) -> None:
    """Hand the content of an entry to `use` in pieces; `Damaged` if it is not what the manifest says."""
    found = hashlib.sha256()
    with archive.open(name) as entry:
        for piece in _stream(entry):
            found.update(piece)
            use(piece)
    if found.hexdigest() != digest:
        raise Damaged(f"the content of {name!r} is not what the manifest says", _MEND)


def _stream(entry: IO[bytes]) -> Iterator[bytes]:
    while piece := entry.read(_PIECE_BYTES):
        yield piece


def _extract(archive: zipfile.ZipFile, name: str, digest: str, directory: Path) -> None:
    """Write one entry below `directory`, checked on the way and durable at the end."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        _check_entry(archive, name, digest, stream.write)
    sync(path)


def _require_room(directory: Path, needed_bytes: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    free_bytes = shutil.disk_usage(directory).free
    if needed_bytes > free_bytes:
        fault = f"the pack needs {needed_bytes} bytes and {free_bytes} are free in {directory}"
        raise WorkbenchError(fault, "make room or choose another disk")


def _one_line(error: BaseException) -> str:
    return " ".join(ascii(str(error)).split())[:200]
