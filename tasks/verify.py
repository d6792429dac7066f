"""Verify: a pack opened in a fresh directory, its hashes and documents checked, and its numbers computed again.

Each number that a job of the pack printed is compared with what the same command prints now. No project is needed and
none is changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from store.errors import Damaged, Missing
from store.project import Project
from tasks.context import Context, ProgressSink
from tasks.packs.expected import EXPECTED_NAME, Claim, Tolerance, Tolerances, read_claims

if TYPE_CHECKING:
    from tasks.graphs.view import GraphView
    from tasks.model.language_model import LanguageModel
    from tasks.packs.opening import OpenedPack
    from tasks.packs.replay import Comparison

__all__ = ["Tolerance", "open_pack", "verify_hashes", "verify_numbers"]


def verify_hashes(pack: Path) -> dict[str, Any]:
    """Check every entry against the manifest and compute nothing; raises as `verify_numbers`."""
    from store.pack_format import read_header
    from store.packs import verify_pack

    header = read_header(pack)
    return {"pack": str(pack), "workbench": header.workbench, "created_at": header.created_at,
            "files": len(verify_pack(pack)), "left_out": list(header.left_out), "verified": True}  # fmt: skip


def verify_numbers(
    pack: Path,
    model_spec: str | None,
    tolerance: Tolerance | None,
    progress: ProgressSink,
    cancelled: Event,
    draw: Callable[[GraphView], str] | None = None,
    from_scratch: bool = False,
) -> dict[str, Any]:
    """Unpack into a fresh temporary directory and compute the numbers again; what came out, as one document.

    `model_spec` replaces the spec in the pack where the weights lie elsewhere on this machine; the revision must be
    the pack's. `tolerance` replaces the pack's own. Numbers are computed on the dictionaries and graphs of the pack or,
    `from_scratch`, in an empty project on what its own captures and trainings make. Where the model is not on this
    machine nothing is computed, and `reason` says so. Raises `BadInput` for a pack of a newer workbench, and `Damaged`
    for a pack with a wrong hash or with rows or files that are not what its rows say.
    """
    from tasks.packs.opening import opened_pack

    with tempfile.TemporaryDirectory(prefix="workbench-verify-") as scratch:
        place = Path(scratch)
        with opened_pack(pack, place / "project") as opened:
            surroundings = Context(opened.project, progress, cancelled, draw=draw)
            check = _Check(opened, surroundings, model_spec or opened.project.model.spec, tolerance, from_scratch)
            return {"pack": str(pack)} | check.document(place / "fresh")


def open_pack(pack: Path, directory: Path) -> dict[str, str]:
    """Make a project of a pack in a new directory, what its jobs read beside it; the pack's hashes by archive path."""
    from tasks.packs.inputs import FOLDER
    from tasks.packs.opening import opened_pack

    with opened_pack(pack, directory) as opened:
        if opened.inputs.entries:
            (opened.documents / FOLDER).rename(directory / FOLDER)
        return dict(opened.hashes)


@dataclass(frozen=True)
class _Check:
    """One verification of an opened pack."""

    opened: OpenedPack
    surroundings: Context
    model_spec: str
    tolerance: Tolerance | None
    from_scratch: bool

    def document(self, fresh: Path) -> dict[str, Any]:
        """Documents, model, numbers, and the verdict over them."""
        from tasks.packs.altered import altered, is_comparable

        header = self.opened.header
        compares = is_comparable(self.opened)
        changed = [*altered(self.opened, self.surroundings.draw)] if compares else []
        claims, own = read_claims((self.opened.documents / EXPECTED_NAME).read_bytes())
        tolerances = own if self.tolerance is None else replace(own, usual=self.tolerance)
        model, reason = self._model(changed)
        comparisons = [] if model is None else self._computed(model, fresh, claims, tolerances)
        moved = sum(len(each.moved) for each in comparisons)
        failed = any(each.outcome == "failed" for each in comparisons)
        return {
            "workbench": header.workbench,
            "created_at": header.created_at,
            "files": len(self.opened.hashes),
            "left_out": list(header.left_out),
            "documents_compared": compares,
            "altered": changed,
            "model": self._model_files(),
            "tolerance": tolerances.document(),
            "from_scratch": self.from_scratch,
            "computed": model is not None,
            "reason": reason,
            "jobs": [each.document() for each in comparisons],
            "numbers": sum(len(each.results) for each in comparisons),
            "skipped": sum(each.outcome == "skipped" for each in comparisons),
            "moved": moved,
            "verified": not (reason or changed or moved or failed),
        }

    def _computed(
        self, model: LanguageModel, fresh: Path, claims: Sequence[Claim], tolerances: Tolerances
    ) -> list[Comparison]:
        """Every job beside its claim, in the pack's project or in an empty one."""
        from tasks.packs.replay import replayed

        context = replace(self.surroundings, _model=model)
        if not self.from_scratch:
            return [*replayed(self.opened, context, claims, tolerances, False)]
        with Project.create(fresh, self.opened.project.model, version("workbench")) as empty:
            return [*replayed(self.opened, replace(context, project=empty), claims, tolerances, True)]

    def _model(self, changed: list[dict[str, Any]]) -> tuple[LanguageModel | None, str]:
        """The model, or None and why nothing can be computed; one that is not the pack's is among the `changed`."""
        from tasks.model.sources import describe_model, load_model

        record = self.opened.project.model
        try:
            model = load_model(self.model_spec, record.device, record.dtype, record.revision)
        except Missing as error:
            return None, str(error)
        except Damaged as error:
            changed.append({"name": "model.json", "what": f"is not the model on this machine: {error.fault}"})
            return None, str(error)
        found = vars(describe_model(model, record.device, record.dtype))
        wrong = [(name, getattr(record, name), value) for name, value in found.items() if name != "spec"]
        wrong = [(name, said, value) for name, said, value in wrong if said != value]
        changed += [
            {"name": "model.json", "what": f"says {name} {said!r}, and the model has {value!r}"}
            for name, said, value in wrong
        ]
        return (None, "the model is not as the pack describes it") if wrong else (model, "")

    def _model_files(self) -> dict[str, Any]:
        """How many files of the model are, byte for byte, those of who packed; converted ones may differ."""
        from tasks.packs.surroundings import model_files

        here = model_files(replace(self.opened.project.model, spec=self.model_spec))
        there = self.opened.model_files
        both = sorted(here.keys() & there.keys())
        differing = [name for name in both if here[name] != there[name]]
        return {"files": len(there), "here": len(both), "differing": differing}
