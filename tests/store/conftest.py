"""A project in a fresh directory, open for writing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.project import ModelRecord, Project

MODEL = ModelRecord("builtin:none", "r1", "llama", 3, 4, 6, 96, "cpu", "float32")


def writes(content: bytes) -> Callable[[Path], None]:
    """A writer for `FileStore.write` that leaves `content`."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A new project on a model that does not exist."""
    with Project.create(tmp_path / "project", MODEL, "0.1.0") as made:
        yield made
