"""Files that jobs read and that no row of a project holds: corpora, behaviours and edits of one's own, imported graphs.

A pack has the size and SHA-256 of each, and the files themselves but for corpora, which travel if they are asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import Damaged
from tasks.corpora.files import text_files

if TYPE_CHECKING:
    from store.jobs import Job
    from tasks.params import Params

INPUTS_NAME = "inputs.json"
"""The archive path of the list."""
FOLDER = "inputs"
"""Where a pack keeps the files themselves."""
CORPUS = "corpus"
_KINDS = {"corpus": CORPUS, "directory": "behaviours", "edits": "edits", "file": "graph"}
"""Field of a job's params -> what it names."""
_WITHOUT = frozenset({"pack", "import-dictionary"})
"""Kinds of job whose paths are no inputs: a pack's is where it goes, and an imported dictionary is in the project."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MEND = "get the pack again from who made it"


@dataclass(frozen=True)
class InputFile:
    """One file of an input, as it was when it was packed."""

    name: str
    """Its path below what the job names; its own name if that is a file."""
    bytes: int
    sha256: str
    entry: str | None = None
    """The archive path; None where the pack has the hash alone."""


@dataclass(frozen=True)
class Input:
    """What one or more jobs read."""

    kind: str
    given: str
    """The file or directory, as the jobs name it."""
    is_directory: bool
    files: tuple[InputFile, ...]
    """In the order in which they are read; none if it was not there any more."""
    jobs: tuple[int, ...]

    @property
    def is_held(self) -> bool:
        """Whether the pack has its files."""
        return bool(self.files) and all(each.entry for each in self.files)

    def place(self, unpacked: Path) -> Path:
        """Where it lies in an unpacked pack that holds it."""
        first = unpacked / str(self.files[0].entry)
        return first.parent if self.is_directory else first

    def is_the_same(self, path: Path) -> bool:
        """Whether a file or directory of this machine has the same content."""
        here = _described(self.kind, path)
        return [each.sha256 for each in here] == [each.sha256 for each in self.files]


@dataclass(frozen=True)
class PackedInputs:
    """The inputs of a pack, and where it was unpacked."""

    inputs: Sequence[Input] = ()
    unpacked: Path = field(default_factory=Path)

    @property
    def entries(self) -> dict[str, str]:
        """Archive path -> SHA-256 of the files that the pack holds."""
        return {each.entry: each.sha256 for found in self.inputs for each in found.files if each.entry}

    def settled(self, params: Params) -> tuple[Params, str]:
        """The params with the pack's own files in place of those that they name; and why one cannot be read, if so."""
        known = {(found.kind, found.given): found for found in self.inputs}
        for name, given in named(params.model_dump(mode="json")):
            found, path = known.get((_KINDS[name], given)), Path(given).expanduser()
            if found is not None and found.is_held:
                params = params.model_copy(update={name: type(getattr(params, name))(found.place(self.unpacked))})
            elif not path.exists():
                return params, f"it reads {given}, which is not on this machine"
            elif found is not None and found.files and not found.is_the_same(path):
                return params, f"it reads {given}, which has changed since it was packed"
        return params, ""


def named(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, path) of every file or directory that a job's params name."""
    for name in _KINDS:
        value = str(params.get(name) or "")
        if value and not (name == "corpus" and (value == "offline" or value.startswith(("offline:", "hub:")))):
            yield name, value


def collect(jobs: Sequence[Job], *, corpora: bool) -> tuple[list[Input], dict[str, Path]]:
    """What the jobs read, and archive path -> file of what goes into the pack; with `corpora`, those too."""
    readers: dict[tuple[str, str], list[int]] = {}
    for job in jobs:
        for name, given in () if job.kind in _WITHOUT else named(job.params):
            readers.setdefault((_KINDS[name], given), []).append(job.id)
    found: list[Input] = []
    sources: dict[str, Path] = {}
    for (kind, given), numbers in sorted(readers.items()):
        path = Path(given).expanduser()
        files = _described(kind, path)
        if corpora or kind != CORPUS:
            entries = _entries(f"{FOLDER}/{len(found)}", kind, files)
            sources |= {entry: _below(path, each.name) for entry, each in zip(entries, files, strict=True)}
            files = [InputFile(f.name, f.bytes, f.sha256, entry) for f, entry in zip(files, entries, strict=True)]
        found.append(Input(kind, given, path.is_dir(), tuple(files), tuple(numbers)))
    return found, sources


def write_inputs(found: Sequence[Input]) -> bytes:
    """The list as an entry of a pack."""
    return (json.dumps({"inputs": [asdict(each) for each in found]}, indent=1, ensure_ascii=False) + "\n").encode()


def read_inputs(unpacked: Path, hashes: Mapping[str, str]) -> PackedInputs:
    """The inputs of an unpacked pack whose entries have these SHA-256; none of a pack from before there were any.

    `Damaged` for a list that cannot be read, or that names an entry which is not as it says.
    """
    if INPUTS_NAME not in hashes:
        return PackedInputs()
    try:
        rows = json.loads((unpacked / INPUTS_NAME).read_bytes())["inputs"]
        found = [
            Input(
                str(row["kind"]), str(row["given"]), bool(row["is_directory"]),
                tuple(InputFile(**each) for each in row["files"]), tuple(map(int, row["jobs"])),
            )
            for row in rows
        ]  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(f"{INPUTS_NAME} of the pack cannot be read ({error})", _MEND) from error
    packed = PackedInputs(found, unpacked)
    for entry, digest in packed.entries.items():
        if not str(entry).startswith(f"{FOLDER}/") or hashes.get(entry) != digest:
            raise Damaged(f"{INPUTS_NAME} of the pack names {entry!r}, which is not as it says", _MEND)
    return packed


def _described(kind: str, path: Path) -> list[InputFile]:
    """The files of an input on this machine, in the order in which they are read; none if they are not there."""
    try:
        return [InputFile(_name(path, file), file.stat().st_size, _sha256(file)) for file in _files(kind, path)]
    except OSError:
        return []


def _files(kind: str, path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return text_files(path) if kind == CORPUS else sorted(path.glob("*.toml"))


def _name(path: Path, file: Path) -> str:
    return file.name if file == path else file.relative_to(path).as_posix()


def _below(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path


def _entries(folder: str, kind: str, files: Sequence[InputFile]) -> list[str]:
    """An archive path for each file: a behaviour is called as its file, anything else is numbered."""
    names = [each.name for each in files]
    plain = all(_PLAIN_NAME.fullmatch(name) for name in names) and len({n.casefold() for n in names}) == len(names)
    if kind == "behaviours" and plain:
        return [f"{folder}/{name}" for name in names]
    return [f"{folder}/{number:06d}{_suffix(name)}" for number, name in enumerate(names)]


def _suffix(name: str) -> str:
    suffix = Path(name).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
