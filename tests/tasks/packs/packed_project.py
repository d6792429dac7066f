"""A project on the tiny Llama in a directory, with one job of every kind that a pack is asked to compute again."""

import json
import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

from store import findings, graphs, labels
from store.project import Project
from tasks.context import Context, SilentProgress
from tasks.execute import execute
from tasks.model.sources import describe_model, load_model
from tasks.registry import task
from tasks.verify import verify_numbers
from tests.tasks.sae_project import write_corpus
from tests.tiny import save_tiny
from workbench.figures import draw_graph

PROMPT = "w5 w17 w44 w3 w71 w28 w60"
CORRUPT = "w5 w17 w90 w3 w12 w28 w60"
MANIFEST = "manifest-sha256.txt"
JOBS = ("baseline", "capture", "train", "evaluate", "index", "trace", "prune", "heads", "qk", "intervene", "validate")
"""The kinds, in order."""


def build(directory: Path) -> Project:
    """The project in `directory`/project, its model and corpus beside it, everything run; open."""
    corpus = str(write_corpus(directory / "corpus.jsonl"))
    model = load_model(str(save_tiny("llama", directory / "model")), "cpu")
    project = Project.create(directory / "project", describe_model(model, "cpu"), "0.1.0")
    context = Context(project, draw=draw_graph)
    text = {"corpus": corpus, "context_length": 12}
    run(context, "baseline", prompt=PROMPT, decisive="w9", max_new_tokens=2)
    run(context, "capture", layers="0,2", tokens=900, dtype="float32", **text)
    run(context, "train", capture=1, features=64, l0=8, batch_size=64, epochs=1)
    run(context, "evaluate", tokens=60, window=80, neurons=False, **text)
    run(context, "index", capture=1)
    graph = run(context, "trace", prompt=PROMPT, dictionary="sae", target="w9", versus="w30", max_nodes=40)["graph"]
    run(context, "prune", graph=graph, node_threshold=0.5, edge_threshold=0.8)
    source, target = edge_into_a_feature(project, graph)
    run(context, "heads", graph=graph, source=source, target=target, top=3)
    run(context, "qk", graph=graph, head="L2H1", top=4)
    run(context, "intervene", prompt=PROMPT, ablate=("L0/*",), dictionary="sae", max_new_tokens=2)
    run(context, "validate", graph=graph, from_=CORRUPT, edges=4)
    with project.transaction():
        findings.add(project.db, "Layer 0 `decides` | <b>it</b>\n# not a heading", {"graph": graph})
        labels.set_label(project.db, 4, "a label of mine")
    return project


def edge_into_a_feature(project: Project, graph: int) -> tuple[str, str]:
    """The names of the ends of some edge from a token."""
    nodes = {node.node: node for node in graphs.nodes(project.db, graph)}
    for edge in graphs.edges(project.db, graph):
        source, target = nodes[edge.source], nodes[edge.target]
        if source.kind == "token" and target.kind == "feature":
            return f"@{source.position}", f"L{target.layer}/{target.feature}@{target.position}"
    raise AssertionError("the graph has no such edge")


def run(context: Context, kind: str, **options: Any) -> dict[str, Any]:
    """Execute a task."""
    return execute(kind, task(kind).params_type(**options), context)


def pack(project: Project, file: Path, **options: Any) -> dict[str, Any]:
    """Pack the project as the command line does."""
    return run(Context(project, draw=draw_graph), "pack", file=file, **options)


def verify(file: Path, model_spec: str | None = None, **options: Any) -> dict[str, Any]:
    """Verify as the command line does."""
    return verify_numbers(file, model_spec, None, SilentProgress(), Event(), draw_graph, **options)


def changed(file: Path, target: Path, change: Callable[[dict[str, bytes]], object], mended: bool = True) -> Path:
    """A copy of the pack with its entries changed; with `mended`, the manifest fits them."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    if mended:
        hashes = {name: sha256(content).hexdigest() for name, content in sorted(entries.items()) if name != MANIFEST}
        entries[MANIFEST] = "".join(f"{digest}  {name}\n" for name, digest in hashes.items()).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target


def edited(name: str, edit: Callable[[Any], Any]) -> Callable[[dict[str, bytes]], None]:
    """A change of one JSON entry: `edit` alters the document in place, or returns another one."""

    def change(entries: dict[str, bytes]) -> None:
        document = json.loads(entries[name])
        entries[name] = json.dumps(edit(document) or document).encode()

    return change


def edited_rows(table: str, edit: Callable[[list[dict[str, Any]]], object]) -> Callable[[dict[str, bytes]], None]:
    """A change of the rows of one table, in place."""

    def change(entries: dict[str, bytes]) -> None:
        rows = [json.loads(line) for line in entries[f"tables/{table}.jsonl"].splitlines()]
        edit(rows)
        entries[f"tables/{table}.jsonl"] = b"".join(
            (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n").encode() for row in rows
        )

    return change


def moved_away(directory: Path, to: Path) -> Path:
    """The project's surroundings on another machine: the model and the corpus, not the project."""
    to.mkdir()
    shutil.copytree(directory / "model", to / "model")
    shutil.copy(directory / "corpus.jsonl", to)
    return to
