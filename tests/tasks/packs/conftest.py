"""One packed project a session; who changes it works on a copy of the pack."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tasks.packs import packed_project


@dataclass(frozen=True)
class Packed:
    """A project's directory, what lies beside it, and its packs."""

    directory: Path
    whole: Path
    without_weights: Path


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """The project, run and packed with and without its weights."""
    directory = tmp_path_factory.mktemp("packed")
    found = Packed(directory, directory / "whole.zip", directory / "without.zip")
    with packed_project.build(directory) as project:
        packed_project.pack(project, found.whole)
        packed_project.pack(project, found.without_weights, weights=False)
    return found
