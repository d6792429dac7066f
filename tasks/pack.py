"""Pack: everything that another machine needs to check the numbers, in one file (DESIGN §8)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.pack_format import PackHeader
    from store.project import Project
    from store.project_rows import Tables
    from tasks.context import Context


class Params(_Params):
    """The options of `workbench pack`."""

    file: Path = option(..., "Where the pack goes; ends in .zip.", argument=True)
    activations: bool = option(False, "Put captured activations in too.")
    corpora: bool = option(False, "Put your own corpora in too, whole; without, the sizes and hashes of their files.")
    weights: bool = option(True, "Put the dictionaries' weights in; without, their sizes and hashes.")


@dataclass(frozen=True)
class Result:
    """A pack that was written."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """No rows: a pack lies outside the project."""
        return self.document


def run(params: Params, context: Context) -> Result:
    """Collect rows, files and what follows from them, and write them as one RO-Crate zip with a manifest."""
    from store import jobs
    from store.packs import write_pack
    from store.project_rows import export_rows, stored_files
    from tasks.packs.documents import Contents, documents, provenance
    from tasks.packs.inputs import INPUTS_NAME, collect, write_inputs

    target = params.file
    _refuse_target(target)
    project = context.project
    tables = export_rows(project.db, activations=params.activations)
    header = _header(tables, params.weights)
    held = [stored for stored in stored_files(tables) if stored.path not in header.left_out]
    entries: dict[str, Path | bytes] = {}
    inputs, sources = collect([jobs.show(project.db, row["id"]) for row in tables["job"]], corpora=params.corpora)
    contents = Contents(project, tables, header, context.draw, inputs)
    with context.stage("collect", len(held) + 1, "files") as stage:
        for stored in held:
            entries[stored.path] = project.files.verify(stored)
            stage.advance()
        made = documents(contents)
        entries |= made | sources | {INPUTS_NAME: write_inputs(inputs)} | _facts(project, header)
        stage.advance()
    write_pack(target, entries, provenance(contents, {*made, *sources}))
    return Result({"pack": str(target), "files": len(entries) + 2, "bytes": target.stat().st_size,
                   "jobs": len(tables["job"]), "left_out": list(header.left_out),
                   "inputs": [{"given": each.given, "kind": each.kind, "held": each.is_held, "found": bool(each.files)}
                              for each in inputs]})  # fmt: skip


def _refuse_target(target: Path) -> None:
    if target.suffix != ".zip":
        raise BadInput(f"{target} does not end in .zip", f"name it {target.with_suffix('.zip')}")
    if not target.absolute().parent.is_dir():
        raise BadInput(f"there is no directory {target.absolute().parent}", "make it first")


def _header(tables: Tables, weights: bool) -> PackHeader:
    """The kind of pack; without `weights`, the files of dictionaries are left out."""
    from store.database import newest_version
    from store.jobs import now
    from store.pack_format import FORMAT, PackHeader

    of_dictionaries = {row["file_id"] for row in tables["dictionary"]}
    left_out = [] if weights else [row["path"] for row in tables["file"] if row["id"] in of_dictionaries]
    return PackHeader(FORMAT, version("workbench"), newest_version(), now(), tuple(sorted(left_out)))


def _facts(project: Project, header: PackHeader) -> dict[str, Path | bytes]:
    """What only this machine knows."""
    from store.pack_format import HEADER_NAME
    from tasks.packs.documents import ENVIRONMENT_NAME, MODEL_NAME, as_json
    from tasks.packs.surroundings import environment, model_files

    return {
        HEADER_NAME: header.content(),
        MODEL_NAME: as_json(asdict(project.model) | {"files": model_files(project.model)}),
        ENVIRONMENT_NAME: as_json(environment(project.model.device)),
    }
