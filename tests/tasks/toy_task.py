"""A task that needs no model: what it does, and how it fails, is said by its params."""

import os
import signal
from dataclasses import dataclass
from typing import Any

from store.errors import BadInput, Damaged, Missing, WorkbenchError
from store.files import StoredFile
from store.project import Project
from tasks.context import Context
from tasks.params import Params as TaskParams
from tasks.params import option
from tests.store.conftest import writes


class Params(TaskParams):
    """What the toy writes and where it fails."""

    dictionary: str = option("toy", "name of the set it writes")
    reads: str = option("", "name of a set it depends on")
    content: str = option("weights", "what is in its file")
    fails: str = option("", "the way in which it fails")
    seed: int = option(0, "nothing")


@dataclass(frozen=True)
class Result:
    """One dictionary row and its file."""

    params: Params
    stored: StoredFile

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """Replace the set's row; fail where asked to, after having written it."""
        project.db.execute("DELETE FROM dictionary WHERE name = ?", [self.params.dictionary])
        project.db.execute(
            "INSERT INTO dictionary (job_id, name, kind, layer, n_features, objective, file_id, config, metrics)"
            " VALUES (?, ?, 'sae', 3, 8, 'topk', ?, '{}', '{}')",
            [job_id, self.params.dictionary, project.record_file(self.stored)],
        )
        if self.params.fails == "save":
            raise RuntimeError("save went wrong")
        if self.params.fails == "killed in save":
            os.kill(os.getpid(), signal.SIGKILL)
        document = {"dictionary": self.params.dictionary, "file": self.stored.path, "shape": (1, 2)}
        return document | ({"pearson": float("nan")} if self.params.fails == "nan" else {})


ERRORS: dict[str, BaseException] = {
    "bad input": BadInput("layer 99 is out of range", "the model has layers 0 to 2"),
    "missing": Missing("no model", "get one"),
    "damaged": Damaged("weights/x is damaged", "restore it"),
    "work": WorkbenchError("the loss is not finite", "lower the learning rate"),
    "bug": ZeroDivisionError("division by zero"),
    "interrupt": KeyboardInterrupt(),
    "disk": OSError(28, "No space left on device"),
}


def run(params: Params, context: Context) -> Result:
    """Write the file in three steps and fail where asked to."""
    stored = context.project.files.write("weights", "toy.bin", writes(params.content.encode()))
    with context.stage("writing", 3, "steps") as stage:
        for _ in range(3):
            stage.advance()
    if params.fails in ERRORS:
        raise ERRORS[params.fails]
    return Result(params, stored)
