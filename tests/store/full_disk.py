"""Fill a small disk with jobs and report what was left: `python -m tests.store.full_disk DIR`.

DIR is on a file system of a few megabytes.
"""

import json
import sys
from pathlib import Path

from store import jobs
from store.errors import WorkbenchError
from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.registry import TASKS
from tests.store.conftest import MODEL
from tests.tasks.test_execute import TOY
from tests.tasks.toy_task import Params


def main(directory: Path) -> None:
    """Run jobs that each leave 300 kB until the disk is full, then make room and run the last one again."""
    TASKS["toy"] = TOY
    filler = directory / "filler"
    filler.write_bytes(bytes(2 << 20))
    with Project.create(directory / "project", MODEL, "0.1.0") as project:
        said = ""
        while not said:
            count = project.db.table("job").count
            try:
                execute("toy", Params(dictionary=f"set {count}", content=f"{count}" * 300_000), Context(project))
            except WorkbenchError as error:
                said = str(error)
    filler.unlink()
    with Project.open(directory / "project", write=True) as project:
        execute("toy", Params(dictionary="last", content="x" * 300_000), Context(project))
        states = [job.state for job in jobs.listing(project.db)]
        for (file_id,) in project.db.execute("SELECT id FROM file").fetchall():
            project.files.verify(project.file(file_id))
        integrity = project.db.execute("PRAGMA integrity_check").fetchone()[0]
        print(json.dumps({"said": said, "states": states[::-1], "integrity": integrity}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
