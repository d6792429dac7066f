"""A small real project for tests of the app: a tiny Qwen3, trained dictionaries, an index, graphs, interventions.

Everything in it was made by the tasks themselves. It is made once a session and copied for each test.
"""

import json
from pathlib import Path
from typing import Any

from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.model.sources import describe_model, load_model
from tasks.registry import task
from tests.tasks.sae_project import write_corpus
from tests.tiny import save_tiny

FAMILY = "qwen3"
PROMPT = "w5 w17 w44 w3 w71 w28 w60"
CORRUPT = "w5 w17 w90 w3 w12 w28 w60"
BEHAVIOUR = "words"
SET = "toy"
GRAPH, NEURON_GRAPH = 1, 2
"""The ids of its graphs: of the dictionary set with validation, and of neurons."""


def create(directory: Path) -> Path:
    """Make the project in `directory`/project, with model, corpus and behaviours beside it; its directory."""
    model = load_model(str(save_tiny(FAMILY, directory / "model")), "cpu")
    corpus = str(write_corpus(directory / "corpus.jsonl"))
    behaviours = write_behaviours(directory / "behaviours", model)
    with Project.create(directory / "project", describe_model(model, "cpu"), "0.1.0") as project:
        context = Context(project, _model=model)
        text = {"corpus": corpus, "context_length": 12}
        _run(context, "baseline", directory=str(behaviours))
        _run(context, "train", name=SET, layers="0-2", features=64, l0=8, tokens=800, batch_size=64, **text)
        _run(context, "evaluate", dictionary=SET, **text)
        _run(context, "index", dictionary=SET, tokens=800, **text)
        _run(context, "trace", prompt=PROMPT, dictionary=SET)
        _run(context, "trace", prompt=PROMPT, dictionary="neurons", max_nodes=64)
        _run(context, "validate", graph=GRAPH, from_=CORRUPT, edges=8)
        strongest = _strongest_feature(project)
        _run(context, "intervene", graph=GRAPH, ablate=(strongest,), sweep="-1..2/7")
    return directory / "project"


def write_behaviours(directory: Path, model: Any) -> Path:
    """One behaviour of two pairs whose decisive token is what the model says, so that it passes."""
    directory.mkdir()
    lines = ['title = "Words after words"', 'paper_section = "none"', 'claimed_circuit = "none"']
    for clean, corrupt in ((PROMPT, CORRUPT), ("w8 w9 w10 w11", "w8 w9 w40 w11")):
        decisive, rival = (_next_word(model, prompt) for prompt in (clean, corrupt))
        rival = rival if rival != decisive else "w1"
        pair = {"clean": clean, "corrupt": corrupt, "decisive": decisive, "rival": rival, "concept": "word"}
        lines += ["[[pair]]", *(f"{key} = {json.dumps(value)}" for key, value in pair.items())]
    (directory / f"{BEHAVIOUR}.toml").write_text("\n".join(lines) + "\n")
    return directory


def _next_word(model: Any, prompt: str) -> str:
    import torch

    with torch.no_grad():
        logits = model.logits(model.token_tensor(model.tokenize(prompt)))
    return str(model.token_text(int(logits[0, -1].argmax())))


def _strongest_feature(project: Project) -> str:
    sql = """SELECT layer, feature, position FROM node WHERE graph_id = ? AND kind = 'feature'
        ORDER BY abs(predicted_effect) DESC LIMIT 1"""
    layer, feature, position = project.db.execute(sql, [GRAPH]).fetchone()
    return f"L{layer}/{feature}@{position}"


def _run(context: Context, kind: str, **options: Any) -> dict[str, Any]:
    return execute(kind, task(kind).params_type(**options), context)
