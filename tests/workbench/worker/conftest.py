"""Projects without a model, a runtime directory of the tests' own, and the scripted task in this process."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store import jobs
from store.project import Project
from tasks.registry import TASKS
from tests.store.conftest import MODEL
from tests.workbench.worker.scripted_task import register
from tests.workbench.worker.scripted_worker import running_worker
from workbench.cli.command_list import COMMANDS
from workbench.worker.runtime_directory import RUNTIME_VARIABLE

LONGEST_S = 60.0


def new_project(directory: Path) -> Path:
    """A project on a model that does not exist."""
    Project.create(directory, MODEL, "0.1.0").close()
    return directory


def job_of(directory: Path, job_id: int) -> jobs.Job:
    """One job's row as it is now."""
    with Project.open(directory, write=False) as project:
        return jobs.show(project.db, job_id)


def texts(directory: Path, job_id: int, kind: str) -> list[str]:
    """The texts of a job's events of one kind, oldest first."""
    with Project.open(directory, write=False) as project:
        return [event.text for _, event in jobs.events(project.db, job_id) if event.kind == kind]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, for as long as a busy machine may take."""
    deadline = time.monotonic() + LONGEST_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {LONGEST_S:g} s: {what}"
        time.sleep(0.02)


def wait_for_state(directory: Path, job_id: int, *states: str) -> jobs.Job:
    """The job's row once it is in one of those states."""
    wait_until(lambda: job_of(directory, job_id).state in states, f"job {job_id} is one of {states}")
    return job_of(directory, job_id)


@pytest.fixture(scope="module", autouse=True)
def runtime_directory() -> Iterator[Path]:
    """A runtime directory for this module's workers, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(RUNTIME_VARIABLE, str(folder))
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def scripted() -> Iterator[None]:
    """The scripted task, known to this process's command line."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(COMMANDS, "scripted", "For tests.")
        register()
        yield
        del TASKS["scripted"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A new project that no worker runs on."""
    return new_project(tmp_path / "project")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that a worker runs on, for all the tests of a module."""
    directory = new_project(tmp_path_factory.mktemp("served") / "project")
    with running_worker(directory):
        yield directory
