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
_TEMPLATE = "{% for message in messages %}{{ message['content'][-60:] }} {% endfor %}"
"""So that the model, which reads 64 tokens, can be asked for labels."""
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

        (directory / "model").mkdir(parents=True)
        write_corpus(directory / "corpus.jsonl", 30)
        (directory / "model" / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")
        with create(directory) as project:
            _write_for_import(project, directory)
        (directory / "mine.toml").write_text(_behaviour(), encoding="utf-8")
        return cls(directory)

    @property
    def project(self) -> Path:
        """The project's directory."""
        return self.directory / "project"

    def draw(self, chance: random.Random, number: int, kind: str | None = None) -> tuple[str, Params]:
        """That kind, or one by chance, and its params; `number` makes names that are not taken."""
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
            "validate": {"graph": 1, "edges": 6},
            "prune": {"graph": 1, "node_threshold": chance.choice([0.4, 0.7])},
            "heads": {"graph": 1, "source": "@1", "target": "logit"},
            "qk": {"graph": 1, "head": "L1H0"},
            "import": {"file": str(self.directory / "graph.json")},
            "import-dictionary": {"directory": str(self.directory / "toy"), "name": f"theirs{number}"},
            "feature-quality": {"dictionary": "toy", "tokens": 64},
            "label": {"dictionary": "toy", "limit": 2, "shown": 2, "held_out": 2, "sample": 256, "again": True},
            "reproduce": {"directory": str(self.directory), "pairs": 2, "max_nodes": 16, "draws": 1, "max_tests": 2},
            "pack": {"file": str(self.directory / f"pack-{number}.zip")},
        }  # fmt: skip
        kind = chance.choice(list(options) if kind is None else [kind])
        return kind, task(kind).params_type.model_validate(options[kind])


def _write_for_import(project: Project, directory: Path) -> None:
    """A first graph and the set, as files of other programs."""
    from tasks.context import Context
    from tasks.dictionaries.formats.set_directory import write_set
    from tasks.dictionaries.sae import SparseAutoencoder
    from tasks.execute import execute
    from workbench.figures.graph_files import write_graph

    context = Context(project)
    params = task("trace").params_type.model_validate({"prompt": _PROMPT, "max_nodes": 64, "dictionary": "toy"})
    graph = execute("trace", params, context)["graph"]
    write_graph(project, graph, directory / "graph.json", "json")
    layers = context.dictionary_set("toy").layers
    saes = {layer: each for layer, each in layers.items() if isinstance(each, SparseAutoencoder)}
    write_set(saes, directory / "toy", "saelens", project.model.spec)


def _behaviour() -> str:
    """Two pairs with a hypothesis, as TOML."""
    pairs = [
        {"clean": _PROMPT, "corrupt": f"w5 w17 w{other} w3 w71", "decisive": "w7", "rival": "w8"} for other in (90, 91)
    ]
    lines = ["title = 'Mine'", "[[hypothesis]]", "kind = 'swap'", "claim = 'the third word decides'",
             "where = 'subject'", "depth = [0, 1]"]  # fmt: skip
    for pair in pairs:
        lines += ["[[pair]]", *(f"{name} = {json.dumps(value)}" for name, value in pair.items())]
    return "\n".join(lines) + "\n"
