"""The app under test: the real app, headless, on a copy of a small real project."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from store.project import Project
from tests.workbench.tui import app_project


@pytest.fixture(scope="session")
def _made_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return app_project.create(tmp_path_factory.mktemp("app"))


@pytest.fixture
def project_directory(_made_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small project, full of results, with a runtime directory of its own."""
    monkeypatch.setenv("WORKBENCH_RUNTIME_DIR", str(_runtime_directory(tmp_path)))
    return Path(shutil.copytree(_made_project, tmp_path / "project"))


@pytest.fixture
def empty_directory(_made_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on the same model in which nothing has been done."""
    monkeypatch.setenv("WORKBENCH_RUNTIME_DIR", str(_runtime_directory(tmp_path)))
    with Project.open(_made_project, write=False) as made:
        record = made.model
    Project.create(tmp_path / "empty", record, "0.1.0").close()
    return tmp_path / "empty"


def _runtime_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def in_project(project_directory: Path) -> Callable[[str], object]:
    """Ask the project's database: `in_project("SELECT …")` gives all rows."""

    def rows(sql: str) -> object:
        with Project.open(project_directory, write=False) as project:
            return project.db.execute(sql).fetchall()

    return rows
