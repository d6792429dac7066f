"""A project on the tiny Llama and a corpus of its words, for tests of the SAE tasks; run as a script, it trains there.

`python -m tests.tasks.sae_project DIRECTORY PARAMS_JSON` opens the project and trains, so that a test can kill it.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.model.sources import describe_model
from tasks.registry import task
from tests.tiny import tiny_language_model

FAMILY = "llama"


def write_corpus(path: Path, n_documents: int = 60) -> Path:
    """A text a line, of 6 to 40 of the words w3 … w90, seeded."""
    draw = random.Random(0)
    texts = [" ".join(f"w{draw.randrange(3, 90)}" for _ in range(draw.randrange(6, 40))) for _ in range(n_documents)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def create(directory: Path) -> Project:
    """A new project on the tiny model, with `corpus.jsonl` beside it."""
    write_corpus(directory.parent / "corpus.jsonl")
    return Project.create(directory, describe_model(tiny_language_model(FAMILY)), "0.1.0")


def context(project: Project) -> Context:
    """A context whose model is the tiny one."""
    return Context(project, _model=tiny_language_model(FAMILY))


def run(project: Project, kind: str, **options: Any) -> dict[str, Any]:
    """Execute a task on the project's corpus."""
    params_type = task(kind).params_type
    if "corpus" in params_type.model_fields:
        options = {"corpus": str(project.directory.parent / "corpus.jsonl"), "context_length": 12} | options
    return execute(kind, params_type(**options), context(project))


if __name__ == "__main__":
    with Project.open(Path(sys.argv[1]), write=True) as opened:
        run(opened, "train", **json.loads(sys.argv[2]))
