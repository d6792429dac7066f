"""Real tasks on a tiny random model, small enough to be killed in the middle by the hundred."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.project import Project
from tasks.params import Params
from tasks.registry import task

_PROMPT = "w5 w17 w44 w3 w71"
_CORPUS = {"context_length": 12, "tokens": 600}


@dataclass(frozen=True)
class RealJobs:
    """A project's real jobs; the model, a corpus and a behaviour lie beside it."""

    directory: Path

    @classmethod
    def create(cls, directory: Path) -> RealJobs:
        """Make the project, on a tiny model with a small set of autoencoders."""
        from tests.tasks.graph_project import create
        from tests.tasks.sae_project import write_corpus

        create(directory).close()
        write_corpus(directory / "corpus.jsonl", 30)
        pair = {"clean": _PROMPT, "corrupt": "w5 w17 w90 w3 w71", "decisive": "w7", "rival": "w8"}
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in pair.items())
        (directory / "mine.toml").write_text(f'title = "Mine"\n[[pair]]\n{lines}\n', encoding="utf-8")
        return cls(directory)

    @property
    def project(self) -> Path:
        """The project's directory."""
        return self.directory / "project"

    def draw(self, chance: random.Random, number: int) -> tuple[str, Params]:
        """A kind and params; `number` makes names that are not taken."""
        text = {"corpus": str(self.directory / "corpus.jsonl"), **_CORPUS}
        options: dict[str, dict[str, Any]] = {
            "baseline": {"directory": str(self.directory)},
            "capture": {**text, "layers": "0-1"},
            "train": {**text, "layers": "0-1", "features": 32, "l0": 4, "checkpoint_steps": 5, "batch_size": 32,
                      "name": f"set{number}"},
            "evaluate": {**text, "dictionary": "toy", "window": 400},
            "index": {**text, "dictionary": "toy"},
            "trace": {"prompt": _PROMPT, "max_nodes": 64, "dictionary": chance.choice(["neurons", "toy"])},
            "intervene": {"prompt": _PROMPT, "ablate": ["L1/3@2"]},
            "validate": {"graph": self._graph(), "edges": 6},
        }  # fmt: skip
        kind = chance.choice([kind for kind in options if kind != "validate" or options[kind]["graph"]])
        return kind, task(kind).params_type(**options[kind])

    def _graph(self) -> int | None:
        """The newest graph, once there is one."""
        with Project.open(self.project, write=False) as project:
            row = project.db.execute("SELECT max(id) FROM graph").fetchone()
        return None if row is None else row[0]
