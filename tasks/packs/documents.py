"""The parts of a pack that follow from its rows and files: written by `pack`, made again and compared by `verify`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import graphs, jobs
from store.crate import Action, Provenance
from store.jobs import Job
from store.pack_format import HEADER_NAME, PackHeader
from store.project import Project
from store.project_rows import as_lines
from tasks.command_line import command_line
from tasks.packs.expected import EXPECTED_NAME, Tolerances, claims_of, write_claims
from tasks.packs.figures import figures_of
from tasks.packs.inputs import INPUTS_NAME, Input
from tasks.packs.readme import LICENCES_NAME, README_NAME, licences, readme
from tasks.packs.session import commands, notebook, script, session_steps

if TYPE_CHECKING:
    from store.project_rows import Tables
    from tasks.graphs.view import GraphView

MODEL_NAME = "model.json"
"""The model that the project pins: spec, revision, shape, and the hashes of its files."""
ENVIRONMENT_NAME = "environment.json"
"""Versions, device and determinism flags of what computed the numbers."""
FACTS = (HEADER_NAME, MODEL_NAME, ENVIRONMENT_NAME)
"""Documents that nothing else in a pack says again."""
COMMANDS_NAME, SCRIPT_NAME, NOTEBOOK_NAME = "commands.sh", "session.py", "session.ipynb"
_DESCRIPTIONS = {
    HEADER_NAME: "The kind of pack.",
    MODEL_NAME: "The model: spec, revision, shape, hashes of its files.",
    ENVIRONMENT_NAME: "Versions, device and determinism flags of what computed the numbers.",
    INPUTS_NAME: "The files that jobs read beside these: sizes and hashes, and where in the pack they are.",
    EXPECTED_NAME: "Every number that a job printed, with its tolerance.",
    COMMANDS_NAME: "The commands in order.",
    SCRIPT_NAME: "The same steps as a Python program.",
    NOTEBOOK_NAME: "The same steps as a notebook.",
    README_NAME: "What is in this pack, and how to check it.",
    LICENCES_NAME: "Whose terms apply to what.",
}


@dataclass(frozen=True)
class Contents:
    """What a project holds when it is packed: its rows, and what only the machine that packed it knew."""

    project: Project
    tables: Tables
    header: PackHeader
    draw: Callable[[GraphView], str] | None
    """Makes the figure of a graph, as SVG; the face has it. Without it, no graph is drawn."""
    inputs: Sequence[Input] = ()
    """What jobs read beside rows and files."""

    @property
    def finished(self) -> list[Job]:
        """The jobs whose rows travel."""
        return [jobs.show(self.project.db, row["id"]) for row in self.tables["job"]]


def documents(contents: Contents) -> dict[str, bytes]:
    """Archive path -> content of everything that follows from the rows and files."""
    project, finished = contents.project, contents.finished
    steps = session_steps(finished)
    version = contents.header.workbench
    claims = claims_of(finished)
    made = {
        **as_lines(contents.tables),
        **{f"configs/job-{step.job.id}-{step.job.kind}.json": as_json(step.params.model_dump(mode="json"))
           for step in steps},
        **_graphs(project),
        **figures_of(project, finished, contents.draw),
        EXPECTED_NAME: write_claims(claims, Tolerances()),
        COMMANDS_NAME: commands(steps, project.model),
        SCRIPT_NAME: script(steps, project.model, version).encode(),
        NOTEBOOK_NAME: notebook(steps, project.model, version).encode(),
        LICENCES_NAME: licences(project.model, contents.tables, contents.inputs),
    }  # fmt: skip
    return made | {README_NAME: readme(project.model, contents.header, contents.tables, claims, contents.inputs)}


def provenance(contents: Contents, names: Iterable[str]) -> Provenance:
    """Where a pack that also holds the documents `names` comes from: one action a job."""
    tables, model = contents.tables, contents.project.model
    path_of = {row["id"]: row["path"] for row in tables["file"]}
    made: dict[int, list[str]] = {}
    for table in ("dictionary", "graph"):
        for row in tables[table]:
            if (path := path_of[row["file_id"]]) not in contents.header.left_out and row["job_id"] is not None:
                made.setdefault(row["job_id"], []).append(path)
    steps = session_steps(contents.finished)
    used = {step.job.id: tuple(path for job in step.needs.values() for path in made.get(job, ())) for step in steps}
    for found in contents.inputs:
        for job in found.jobs:
            used[job] = used.get(job, ()) + tuple(each.entry for each in found.files if each.entry)
    commands_of = {step.job.id: command_line(step.job.kind, step.params, Path("PROJECT")) for step in steps}
    stored = {path: _described(path) for path in path_of.values()}
    return Provenance(
        name=f"workbench pack of {model.spec}",
        description="Prompt baselines, sparse autoencoders, attribution graphs and their validation, with what is "
        "needed to compute the numbers again: `workbench verify FILE`.",
        created_at=contents.header.created_at,
        software_version=contents.header.workbench,
        actions=tuple(
            Action(job, used.get(job.id, ()), tuple(made.get(job.id, (EXPECTED_NAME,))), commands_of.get(job.id, ""))
            for job in contents.finished
        ),
        descriptions=stored | {name: _described(name) for name in names} | _DESCRIPTIONS,
        license={"@id": LICENCES_NAME},
    )


def _described(name: str) -> str:
    """What a file is, by where it lies."""
    folder, _, rest = name.partition("/")
    said = {
        "tables": f"The rows of table {rest.removesuffix('.jsonl')}, one a line.",
        "configs": "Every option of one job, resolved.",
        "figures": "A figure of a graph, a training, or measured effects.",
        "graphs": "An attribution graph.",
        "weights": "The weights of one dictionary.",
        "inputs": "A file that a job read.",
        "activations": "Captured activations of one layer.",
    }
    return said.get(folder, "A part of the pack.")


def as_json(value: Mapping[str, Any]) -> bytes:
    """A document that people read too."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _graphs(project: Project) -> dict[str, bytes]:
    from tasks.graphs.formats.graphml import graphml
    from tasks.graphs.formats.neuronpedia import graph_json
    from tasks.graphs.formats.stored import load_stored_graph

    made: dict[str, bytes] = {}
    for record in graphs.listing(project.db):
        graph = load_stored_graph(project, record.id)
        made[f"graphs/graph-{record.id}.graphml"] = graphml(graph)
        made[f"graphs/graph-{record.id}.json"] = graph_json(graph)
    return made
