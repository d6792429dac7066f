"""A writer that is killed over and over, and the count of what it lost.

`python -m tests.store.kill_loop DIR SECONDS` is a process of its own, because it forks, and the tests have threads.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from store import jobs
from store.errors import Damaged
from store.project import Project
from tests.store.conftest import MODEL

_PIECE_BYTES = 1 << 16
_PIECES = 8
_KILLS_PER_KILL_AT_OPENING = 5


def write_for_ever(directory: Path, acknowledge: int, seed: int) -> None:
    """Files, their rows and `succeeded` jobs, each acknowledged once it is committed."""
    chance = random.Random(seed)
    with Project.open(directory, write=True) as project:
        os.write(acknowledge, b"opened 0\n")
        while True:
            job_id = jobs.start(project.db, "capture", "{}", f"key {seed}")
            os.write(acknowledge, f"started {job_id}\n".encode())
            stored = project.files.write("activations", "shard.bin", lambda path: write_slowly(path, chance))
            with project.transaction():
                project.record_file(stored)
                jobs.succeed(project.db, job_id, {"path": stored.path}, 1.0, 1.0)
            os.write(acknowledge, f"succeeded {job_id}\n".encode())


def write_slowly(path: Path, chance: random.Random) -> None:
    """Half a megabyte in pieces, so that there are moments at which it is half written."""
    with path.open("wb", buffering=0) as stream:
        for _ in range(_PIECES):
            stream.write(chance.randbytes(_PIECE_BYTES))


def run_and_kill(directory: Path, seed: int) -> dict[int, str]:
    """Start a writer, kill it at a random moment, and return what it had acknowledged: job id to state."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        write_for_ever(directory, write_end, seed)
    os.close(write_end)
    if seed % _KILLS_PER_KILL_AT_OPENING:
        os.read(read_end, len(b"opened 0\n"))
    time.sleep(random.Random(seed).uniform(0.0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read_end) as stream:
        words = [line.split() for line in stream if line.endswith("\n")]
    return {int(job_id): state for state, job_id in words if state != "opened"}


def count_losses(directory: Path, acknowledged: dict[int, str]) -> Counter[str]:
    """Open the project as the next session would, and count what is not as it was acknowledged."""
    counts: Counter[str] = Counter(acknowledged=len(acknowledged))
    with Project.open(directory, write=True) as project:
        rows = {job.id: job for job in jobs.listing(project.db, limit=1_000_000)}
        counts["stuck"] = sum(job.state == "running" for job in rows.values())
        for job_id, state in acknowledged.items():
            counts["rows lost"] += job_id not in rows or (state == "succeeded") > (rows[job_id].state == "succeeded")
        stored = [project.file(row[0]) for row in project.db.execute("SELECT id FROM file").fetchall()]
        named = {file.path for file in stored}
        succeeded = {str((job.result or {})["path"]) for job in rows.values() if job.state == "succeeded"}
        counts["jobs without their file"] = len(succeeded ^ named)
        counts["leftovers"] = len(
            {f"activations/{path.name}" for path in (directory / "activations").iterdir()} - named
        )
        for file in stored:
            try:
                project.files.verify(file)
            except Damaged:
                counts["files torn"] += 1
    return counts


def main(directory: Path, seconds: float) -> None:
    """Kill for about that long, check after every kill, and print the figures as JSON."""
    deadline = time.monotonic() + seconds
    total: Counter[str] = Counter()
    while time.monotonic() < deadline:
        seed = total["kills"]
        project_directory = directory / f"project-{seed // 50}"  # a new one now and then: every check reads every file
        if not project_directory.exists():
            Project.create(project_directory, MODEL, "0.1.0").close()
        total += Counter(kills=1) + count_losses(project_directory, run_and_kill(project_directory, seed))
    print(json.dumps(total))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
