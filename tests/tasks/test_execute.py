"""A task leaves all of its result with `succeeded`, or none of it with the line that says why."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import jobs
from store.errors import BadInput, Cancelled, WorkbenchError
from store.project import Project
from tasks.context import Context
from tasks.execute import JobProgress, execute
from tasks.registry import TASKS, Task
from tests.store.conftest import MODEL
from tests.tasks import toy_task
from tests.tasks.toy_task import Params

TOY = Task("toy", "A task that needs no model.", toy_task.__name__)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A new project and the toy task."""
    monkeypatch.setitem(TASKS, "toy", TOY)
    with Project.create(tmp_path / "project", MODEL, "0.1.0") as project:
        yield Context(project)


def _counts(project: Project) -> dict[str, int]:
    return {name: project.db.table(name).count for name in ("job", "job_event", "file", "dictionary")}


def _files(project: Project) -> list[str]:
    return [path.name for path in (project.directory / "weights").iterdir()]


def test_a_task_leaves_its_rows_its_document_and_its_time(context: Context) -> None:
    document = execute("toy", Params(), context)
    job = jobs.show(context.project.db, document["job"])
    assert job.state == "succeeded"
    assert job.params == Params().model_dump()
    assert job.result == document
    assert document["dictionary"] == "toy"
    assert document["seconds"] == job.elapsed_s or 0 < document["seconds"] <= (job.elapsed_s or 0)
    assert job.cpu_s is not None
    assert json.loads(json.dumps(document)) == document
    [row] = context.project.db.query("SELECT job_id, file_id FROM dictionary")
    assert row["job_id"] == job.id
    assert context.project.files.verify(context.project.file(row["file_id"]))


def test_numbers_that_json_cannot_hold_are_null(context: Context) -> None:
    assert execute("toy", Params(fails="nan"), context)["pearson"] is None


@pytest.mark.parametrize("fails", ["bad input", "missing", "damaged"])
def test_bad_input_leaves_nothing(context: Context, fails: str) -> None:
    with pytest.raises(WorkbenchError) as raised:
        execute("toy", Params(fails=fails), context)
    assert raised.value is toy_task.ERRORS[fails]
    assert set(_counts(context.project).values()) == {0}
    assert _files(context.project) == []


def test_a_task_that_does_not_exist_is_bad_input(context: Context) -> None:
    with pytest.raises(BadInput, match="no task named 'nonsense'; the tasks are baseline"):
        execute("nonsense", Params(), context)
    assert set(_counts(context.project).values()) == {0}


@pytest.mark.parametrize(
    ("fails", "state", "line"),
    [
        ("work", "failed", "the loss is not finite; lower the learning rate"),
        ("bug", "failed", "ZeroDivisionError: division by zero"),
        ("save", "failed", "RuntimeError: save went wrong"),
        ("interrupt", "cancelled", "stopped in the middle of a step; run the same command again"),
    ],
)
def test_a_failure_goes_on_and_leaves_its_line_and_no_rows(context: Context, fails: str, state: str, line: str) -> None:
    with pytest.raises(BaseException) as raised:
        execute("toy", Params(fails=fails), context)
    assert raised.value is toy_task.ERRORS.get(fails) or str(raised.value) == "save went wrong"
    [job] = jobs.listing(context.project.db)
    assert (job.state, job.error, job.result) == (state, line, None)
    assert job.elapsed_s is not None
    counts = _counts(context.project)
    assert (counts["file"], counts["dictionary"]) == (0, 0)
    assert _files(context.project) == []


def test_a_cancel_stops_between_steps(context: Context) -> None:
    context.cancelled.set()
    with pytest.raises(Cancelled):
        execute("toy", Params(), context)
    [job] = jobs.listing(context.project.db)
    assert (job.state, job.progress) == ("cancelled", 0.0)


def test_a_full_disk_is_said_and_the_reserve_is_released(context: Context) -> None:
    ballast = context.project.directory / ".ballast"
    assert ballast.exists()
    with pytest.raises(WorkbenchError, match=r"no room left on the disk of .*; make room and run the same command"):
        execute("toy", Params(fails="disk"), context)
    assert not ballast.exists()
    assert jobs.listing(context.project.db)[0].state == "failed"


def test_a_kill_inside_save_leaves_neither_rows_nor_succeeded(context: Context) -> None:
    directory = context.project.directory
    context.project.close()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.tasks.test_execute import *\n"
        "TASKS['toy'] = TOY\n"
        "execute('toy', Params(fails='killed in save'), Context(Project.open(Path(sys.argv[1]), True)))"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(directory)], check=False, capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    with Project.open(directory, write=True) as project:
        [job] = jobs.listing(project.db)
        assert (job.state, job.result) == ("interrupted", None)
        counts = _counts(project)
        assert (counts["file"], counts["dictionary"]) == (0, 0)
        assert _files(project) == []


def test_reuse_gives_the_earlier_document_and_runs_nothing(context: Context) -> None:
    first = execute("toy", Params(), context)
    assert execute("toy", Params(), context, reuse=True) == first
    assert _counts(context.project)["job"] == 1
    assert execute("toy", Params(seed=1), context, reuse=True)["job"] == 2
    assert execute("toy", Params(), context)["job"] == 3


def test_reuse_runs_again_what_failed_before(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(toy_task.Result, "save", _fail)
        execute("toy", Params(), context)
    assert execute("toy", Params(), context, reuse=True)["job"] == 2


def _fail(self: object, project: Project, job_id: int) -> dict[str, Any]:
    raise RuntimeError("save went wrong")


@pytest.mark.parametrize("harm", ["flip", "delete"])
def test_reuse_runs_again_if_a_file_was_harmed(context: Context, harm: str) -> None:
    first = execute("toy", Params(), context)
    path = context.project.directory / first["file"]
    path.write_bytes(b"Weights") if harm == "flip" else path.unlink()
    again = execute("toy", Params(), context, reuse=True)
    assert (again["job"], again["file"]) == (2, first["file"])
    assert path.read_bytes() == b"weights"


def test_reuse_runs_again_if_another_job_replaced_the_result(context: Context) -> None:
    execute("toy", Params(), context)
    execute("toy", Params(content="other"), context)
    assert execute("toy", Params(), context, reuse=True)["job"] == 3
    assert execute("toy", Params(), context, reuse=True)["job"] == 3


def test_reuse_runs_again_if_a_dictionary_that_was_read_is_another_now(context: Context) -> None:
    execute("toy", Params(), context)
    reading = Params(dictionary="reader", reads="toy")
    assert execute("toy", reading, context)["job"] == 2
    assert execute("toy", reading, context, reuse=True)["job"] == 2
    execute("toy", Params(content="retrained"), context)
    assert execute("toy", reading, context, reuse=True)["job"] == 4


class _Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class _Recorder:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, label: str, total: float, unit: str) -> None:
        self.told.append(("begin", label, total, unit))

    def advance(self, amount: float) -> None:
        self.told.append(("advance", amount))

    def end(self) -> None:
        self.told.append(("end",))

    def note(self, text: str) -> None:
        self.told.append(("note", text))


def test_progress_reaches_the_row_at_most_once_a_second_and_the_person_always() -> None:
    clock, sink = _Clock(), _Recorder()
    reported: list[tuple[float, str]] = []
    progress = JobProgress(sink, lambda share, label: reported.append((share, label)), clock)
    progress.begin("layers", 4, "layers")
    for step in range(4):
        progress.begin(f"layer {step}", 2, "batches")
        for _ in range(2):
            clock.now += 0.3
            progress.advance(1)
        progress.end()
        progress.advance(1)
    progress.end()
    progress.note("done")
    assert reported == [(0.0, "layers"), (0.25, "layer 1"), (0.75, "layer 3")]
    assert len(sink.told) == 2 + 4 * 5 + 1
    assert sink.told.count(("advance", 1)) == 12


def test_progress_of_a_stage_of_unknown_length_is_no_error() -> None:
    reported: list[float] = []
    progress = JobProgress(_Recorder(), lambda share, label: reported.append(share))
    progress.begin("reading", 0, "bytes")
    progress.advance(10)
    assert reported == [0.0]


def test_a_failed_task_gives_the_persons_progress_back(context: Context) -> None:
    sink = context.progress
    with pytest.raises(ZeroDivisionError):
        execute("toy", Params(fails="bug"), context)
    assert context.progress is sink
