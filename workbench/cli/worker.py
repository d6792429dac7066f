"""`workbench worker`: the background process that keeps the model loaded and runs queued jobs."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from store.errors import BadInput, Missing, WorkbenchError
from workbench.cli.invocation import project_directory
from workbench.cli.output import emit_json, emit_view, narrate

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="The background process that keeps the model loaded."
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
ResumeOption = Annotated[bool, typer.Option("--resume-queue", help="Take jobs that were queued before it.")]
IdleOption = Annotated[
    float | None, typer.Option(help="Unload the model after this long without a job. (seconds, ≥ 1)", min=1)
]
PatienceOption = Annotated[
    float,
    typer.Option(help="A cancelled job gets SIGINT after this long, then SIGTERM, then SIGKILL. (seconds)", min=0),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(help="Dictionary sets of together so many bytes stay loaded, as 8GiB; default: a quarter of all."),
]
_SECONDS_BETWEEN_LOOKS = 0.1
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([kMGT]i?)?B?")
_FACTORS = {None: 1, "k": 10**3, "ki": 2**10, "M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30, "T": 10**12,
            "Ti": 2**40}  # fmt: skip
_PATIENCE_S = 10.0
_LONGEST_RACE_S = 5.0
_LAST_LINES = 50
_LONGEST_LOAD_S = 1800.0


@app.command()
def run(
    ctx: typer.Context,
    resume_queue: ResumeOption = False,
    idle_timeout: IdleOption = None,
    patience: PatienceOption = _PATIENCE_S,
    memory: MemoryOption = None,
) -> None:
    """Be the worker, here, until Ctrl-C: for a batch job or tmux. Closing the terminal does not end it."""
    from workbench.worker.daemon import run_worker
    from workbench.worker.runtime_directory import address_of

    directory = project_directory(ctx)
    log = address_of(directory).log
    run_worker(
        directory,
        _options(resume_queue, idle_timeout, patience, memory),
        lambda: narrate(f"worker {os.getpid()} on {directory}; its log: {log}"),
    )


@app.command()
def start(
    ctx: typer.Context,
    resume_queue: ResumeOption = False,
    idle_timeout: IdleOption = None,
    patience: PatienceOption = _PATIENCE_S,
    memory: MemoryOption = None,
    json: JsonOption = False,
) -> None:
    """Start the worker in the background; it outlives the terminal. Where one runs already, say so."""
    from workbench.worker.daemon import ended_at_logout

    directory = project_directory(ctx)
    pid, started = _start(directory, _options(resume_queue, idle_timeout, patience, memory))
    document = _status(directory)
    if json:
        emit_json({"started": started, **document})
        return
    print(pid)
    narrate(f"worker {pid} on {directory}" if started else f"worker {pid} was running already")
    _tell_paused(directory, document)
    if started and ended_at_logout():
        narrate("this machine ends a person's processes at logout: `loginctl enable-linger` keeps the worker")


@app.command("status")
def show_status(ctx: typer.Context, json: JsonOption = False) -> None:
    """What the worker runs, what waits, what is in memory."""
    from workbench.tui.render.document import document_view

    directory = project_directory(ctx)
    document = _status(directory)
    if json:
        emit_json(document)
    else:
        emit_view(document_view(document))
    _tell_paused(directory, document)


@app.command()
def resume(ctx: typer.Context, json: JsonOption = False) -> None:
    """Let the worker take the jobs that were queued before it started."""
    from workbench.worker.client import WorkerClient

    with WorkerClient.require(project_directory(ctx)) as client:
        queue = client.ask("resume")["queue"]
    if json:
        emit_json({"queue": queue})
    else:
        narrate(f"{_jobs_wait(len(queue))} no longer: one is taken after the other")


@app.command()
def load(ctx: typer.Context, json: JsonOption = False) -> None:
    """Load the model now, so that the first job need not wait for it."""
    _order_model(ctx, "load", json)


@app.command()
def unload(ctx: typer.Context, json: JsonOption = False) -> None:
    """Let the model go and give its memory back; the next job loads it again."""
    _order_model(ctx, "unload", json)


@app.command()
def stop(ctx: typer.Context, json: JsonOption = False) -> None:
    """Stop the worker. A running job is stopped and can be retried; queued jobs stay queued."""
    from workbench.worker.client import WorkerClient

    with WorkerClient.require(project_directory(ctx)) as client:
        pid = client.ask("shutdown")["pid"]
        try:
            while True:
                client.announcement(_SECONDS_BETWEEN_LOOKS)
        except EOFError:
            pass
    while _runs(pid):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if json:
        emit_json({"pid": pid})
    else:
        narrate(f"worker {pid} has stopped")


@app.command()
def logs(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option(help="How many of the last lines.", min=0)] = _LAST_LINES,
) -> None:
    """What the worker says of itself. What a job prints is in the project, in logs/job-N.log."""
    from workbench.tui.render.tokens import show_text
    from workbench.worker.runtime_directory import address_of

    log = address_of(project_directory(ctx)).log
    if not log.is_file():
        raise Missing(f"no worker has run on this project ({log})", "`workbench worker start` starts one")
    with log.open(encoding="utf-8", errors="replace") as stream:
        for line in stream.readlines()[-lines:] if lines else []:
            print(show_text(line.rstrip("\n")))
        while follow:
            while line := stream.readline():
                print(show_text(line.rstrip("\n")))
            sys.stdout.flush()
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _options(resume_queue: bool, idle_timeout_s: float | None, patience_s: float, memory: str | None) -> Any:
    from workbench.worker.supervisor import Patience, WorkerOptions

    patience = Patience(patience_s, 2 * patience_s, 3 * patience_s)
    return WorkerOptions(resume_queue, idle_timeout_s, patience, None if memory is None else _bytes(memory))


def _bytes(text: str) -> int:
    """The bytes of a size such as 8GiB, 500MB or 0; `BadInput` if it is none."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{text!r} is no size of memory", "write it as 8GiB, 500MB or 0")
    return int(float(match[1]) * _FACTORS[match[2]])


def _start(directory: Path, options: Any) -> tuple[int, bool]:
    """The worker's process id, and whether this call started it: of two at once one starts and both find it."""
    from workbench.worker.client import WorkerClient
    from workbench.worker.daemon import start_worker

    if (client := WorkerClient.connect(directory)) is not None:
        with client:
            return client.facts["pid"], False
    try:
        return start_worker(directory, options), True
    except BadInput:
        raise
    except WorkbenchError:
        deadline = time.monotonic() + _LONGEST_RACE_S
        while time.monotonic() < deadline:
            if (client := WorkerClient.connect(directory)) is not None:
                with client:
                    return client.facts["pid"], False
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        raise


def _status(directory: Path) -> dict[str, Any]:
    from workbench.worker.client import WorkerClient

    with WorkerClient.require(directory) as client:
        return {key: value for key, value in client.ask("status").items() if key != "re"}


def _tell_paused(directory: Path, document: dict[str, Any]) -> None:
    if paused := document["paused"]:
        narrate(
            f"{_jobs_wait(len(paused))} from before the worker started: "
            f"`workbench --project {directory} worker resume` takes them, `jobs cancel` drops one"
        )


def _jobs_wait(n: int) -> str:
    return "1 job waits" if n == 1 else f"{n} jobs wait"


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and that its parent has not asked after does not."""
    try:
        about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return about.rpartition(")")[2].split()[0] != "Z"


def _order_model(ctx: typer.Context, order: str, as_json: bool) -> None:
    from workbench.tui.render.tokens import show_text
    from workbench.worker.client import WorkerClient

    with WorkerClient.require(project_directory(ctx)) as client:
        resident = client.ask(order, _LONGEST_LOAD_S)["resident"]
    if as_json:
        emit_json({"resident": resident})
    else:
        names = [resident["model"] or "no model", *(each["name"] for each in resident["dictionaries"])]
        narrate(f"in memory: {', '.join(map(show_text, names))}")
