"""How soon a job starts in a worker whose model is loaded: `python -m benchmarks.worker`, on the embedded model.

Measured from before the job's row is written to the child's word that it has begun, by the clock of the one who waits.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median

from store.project import Project
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.registry import task
from workbench import VERSION
from workbench.worker.client import WorkerClient
from workbench.worker.daemon import start_worker
from workbench.worker.orders import hand_over
from workbench.worker.supervisor import WorkerOptions

_RUNS = 20
_PROMPT = "The official language of the country whose capital is Paris is"
_LONGEST_LOAD_S = 600.0


def measure(runs: int = _RUNS) -> dict[str, float]:
    """Seconds from submission to start, and from a cancel to the job's end, over `runs` traces."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "project"
        _make_project(directory)
        start_worker(directory, WorkerOptions())
        with WorkerClient.require(directory) as client:
            loaded_s = _timed_load(client)
            client.ask("subscribe", job=0)
            times = [_start_and_cancel(directory, client, number) for number in range(runs)]
            client.ask("shutdown")
            _wait_for_end(client)
    starts, ends = zip(*times, strict=True)
    return {
        "load of the model, s": loaded_s,
        "submission to start, median s": median(starts),
        "submission to start, longest s": max(starts),
        "cancel to end, median s": median(ends),
        "cancel to end, longest s": max(ends),
    }


def _make_project(directory: Path) -> None:
    from tasks.model.sources import describe_model, load_model

    Project.create(directory, describe_model(load_model(EMBEDDED_SPEC)), VERSION).close()


def _timed_load(client: WorkerClient) -> float:
    started = time.perf_counter()
    client.ask("load", _LONGEST_LOAD_S)
    return time.perf_counter() - started


def _start_and_cancel(directory: Path, client: WorkerClient, number: int) -> tuple[float, float]:
    """Submit a trace, wait for its start, let it work a while, cancel it, wait for its end."""
    params = task("trace").params_type.model_validate({"prompt": _PROMPT, "max_nodes": 1000 + number})
    submitted = time.perf_counter()
    job_id = hand_over(directory, "trace", params, client)
    while not (_next(client)).get("started"):
        pass
    started = time.perf_counter()
    time.sleep(2.0 + 0.1 * number)
    asked = time.perf_counter()
    client.ask("cancel", job=job_id)
    while _next(client).get("event", {}).get("text") not in ("cancelled", "succeeded"):
        pass
    return started - submitted, time.perf_counter() - asked


def _next(client: WorkerClient) -> dict[str, dict[str, str]]:
    return client.announcement(_LONGEST_LOAD_S) or {}


def _wait_for_end(client: WorkerClient) -> None:
    try:
        while True:
            client.announcement(1.0)
    except EOFError:
        return


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
