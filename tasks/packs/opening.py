"""A pack becomes a project: its files checked, its rows taken in, its model named."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput, Damaged
from tasks.packs.documents import MODEL_NAME
from tasks.packs.inputs import PackedInputs, read_inputs

if TYPE_CHECKING:
    from store.pack_format import PackHeader
    from store.project import ModelRecord, Project
    from store.project_rows import Tables

_MEND = "get the pack again from who made it"


@dataclass(frozen=True)
class OpenedPack:
    """A pack whose every hash is right, as a project that is open for work."""

    project: Project
    header: PackHeader
    hashes: Mapping[str, str]
    """Archive path -> SHA-256."""
    tables: Tables
    """The rows as the pack has them, in the newest schema."""
    documents: Path
    """Where what is not a file of the project was unpacked; gone when the pack is closed."""
    model_files: Mapping[str, Mapping[str, Any]]
    """What the pack says of the files of its model: name -> bytes, sha256."""
    inputs: PackedInputs
    """What its jobs read beside rows and files."""


@contextmanager
def opened_pack(pack: Path, directory: Path) -> Iterator[OpenedPack]:
    """Check a pack and make a project of it in `directory`, which must be empty or not there; closed at the end.

    Raises `BadInput` for a pack of a newer workbench, `Damaged` for anything that is not what the pack says; then
    nothing is left behind.
    """
    from store.pack_format import read_header
    from store.packs import unpack
    from store.project_rows import import_project, read_tables, upgraded

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadInput(f"{directory} is not empty", "choose a new directory")
    header = read_header(pack)
    beside = next(path for path in directory.absolute().parents if path.exists())
    with tempfile.TemporaryDirectory(prefix=".workbench-unpack-", dir=beside) as scratch:
        files = Path(scratch) / "files"
        hashes = unpack(pack, files)
        tables = upgraded(read_tables(files), header.schema)
        model, model_files = _model(files / MODEL_NAME)
        inputs = read_inputs(files, hashes)
        made = Path(scratch) / "project"
        import_project(files, made, model, tables, version("workbench"), header.left_out).close()
        yield from _placed(made, directory, (header, hashes, tables, files, model_files, inputs))


def _placed(made: Path, directory: Path, rest: tuple[Any, ...]) -> Iterator[OpenedPack]:
    """Give the finished project its name, and keep it open for the caller."""
    from store.project import Project

    directory.parent.mkdir(parents=True, exist_ok=True)
    made.rename(directory)
    with Project.open(directory, write=True) as project:
        yield OpenedPack(project, *rest)


def _model(file: Path) -> tuple[ModelRecord, dict[str, dict[str, Any]]]:
    from store.project import ModelRecord

    try:
        document = json.loads(file.read_bytes())
        files = document.pop("files")
        record = ModelRecord(**document)
        kinds = {name: type(value) for name, value in vars(record).items()}
        sound = all(str(kinds[name].__name__) == ModelRecord.__annotations__[name] for name in kinds)
        files = {str(name): {"bytes": int(f["bytes"]), "sha256": str(f["sha256"])} for name, f in files.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(f"{MODEL_NAME} of the pack cannot be read ({error})", _MEND) from error
    if not sound:
        raise Damaged(f"{MODEL_NAME} of the pack does not describe a model", _MEND)
    return record, files
