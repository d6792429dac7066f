"""Pack: everything that another machine needs to check the numbers, in one file (DESIGN §8)."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.crate import Provenance
    from store.project import Project
    from store.project_rows import Tables
    from tasks.context import Context

ROWS_NAME = "rows.json"
"""All rows of the project, by table."""
MODEL_NAME = "model.json"
"""The model that the project pins: spec, revision, shape."""
ENVIRONMENT_NAME = "environment.json"
"""Versions of what computed the numbers."""
_PACKAGES = ("workbench", "torch", "transformers", "nnsight", "networkx", "sqlite-utils", "safetensors")


class Params(_Params):
    """The options of `workbench pack`."""

    file: Path = option(..., "Where the pack goes; ends in .zip.", argument=True)
    activations: bool = option(False, "Put captured activations in too.")


@dataclass(frozen=True)
class Result:
    """A pack that was written."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: a pack lies outside the project."""
        return self.document


def run(params: Params, context: Context) -> Result:
    """Collect rows, files, graphs and commands, and write them as one RO-Crate zip with a manifest."""
    from store.packs import write_pack
    from store.project_rows import export_rows, stored_files

    target = params.file
    if target.suffix != ".zip":
        raise BadInput(f"{target} does not end in .zip", f"name it {target.with_suffix('.zip')}")
    if not target.absolute().parent.is_dir():
        raise BadInput(f"there is no directory {target.absolute().parent}", "make it first")
    project = context.project
    tables = export_rows(project.db, activations=params.activations)
    files = stored_files(tables)
    contents: dict[str, Path | bytes] = {}
    with context.stage("collect", len(files), "files") as stage:
        for stored in files:
            contents[stored.path] = project.files.verify(stored)
            stage.advance()
    contents |= _documents(project, tables)
    write_pack(target, contents, _provenance(project, tables))
    return Result({"pack": str(target), "files": len(contents) + 2, "bytes": target.stat().st_size,
                   "jobs": len(tables["job"])})  # fmt: skip


def _documents(project: Project, tables: Tables) -> dict[str, bytes]:
    """The parts of a pack that are written for it."""
    from store import graphs
    from tasks.graphs.formats.graphml import graphml
    from tasks.graphs.formats.neuronpedia import graph_json
    from tasks.graphs.formats.stored import load_stored_graph

    documents: dict[str, bytes] = {
        ROWS_NAME: _json(tables),
        MODEL_NAME: _json(asdict(project.model)),
        ENVIRONMENT_NAME: _json(_environment()),
    }
    for record in graphs.listing(project.db):
        graph = load_stored_graph(project, record.id)
        documents[f"graphs/graph-{record.id}.graphml"] = graphml(graph)
        documents[f"graphs/graph-{record.id}.json"] = graph_json(graph)
    return documents


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _provenance(project: Project, tables: Tables) -> Provenance:
    from store import jobs
    from store.crate import Action, Provenance

    path_of = {row["id"]: row["path"] for row in tables["file"]}
    made: dict[int, list[str]] = {}
    for table in ("dictionary", "graph"):
        for row in tables[table]:
            made.setdefault(row["job_id"], []).append(path_of[row["file_id"]])
    finished = [jobs.show(project.db, row["id"]) for row in tables["job"]]
    return Provenance(
        name=f"workbench pack of {project.model.spec}",
        description="Prompt baselines, sparse autoencoders, attribution graphs and their validation, with what is "
        "needed to compute the numbers again: `workbench verify FILE`.",
        created_at=jobs.now(),
        software_version=version("workbench"),
        actions=tuple(Action(job, made=tuple(made.get(job.id, ()))) for job in finished),
        descriptions={
            ROWS_NAME: "All rows of the project, by table.",
            MODEL_NAME: "The model: spec, revision and shape.",
            ENVIRONMENT_NAME: "Versions of what computed the numbers.",
        },
    )
