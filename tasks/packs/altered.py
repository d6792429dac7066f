"""What of a pack is not what its own rows and files say: the changes that mended hashes cannot hide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from store.crate import METADATA_NAME, crate_metadata
from store.database import newest_version
from store.project_rows import stored_files
from tasks.packs.documents import FACTS, Contents, documents, provenance
from tasks.packs.figures import FOLDER
from tasks.packs.inputs import INPUTS_NAME

if TYPE_CHECKING:
    from tasks.graphs.view import GraphView
    from tasks.packs.opening import OpenedPack


def is_comparable(opened: OpenedPack) -> bool:
    """Whether this workbench writes documents as the one did that made the pack: the same version and schema."""
    return opened.header.workbench == version("workbench") and opened.header.schema == newest_version()


def altered(opened: OpenedPack, draw: Callable[[GraphView], str] | None) -> Iterator[dict[str, Any]]:
    """Every document that does not follow from the rows and files, and every entry that belongs to no pack.

    Figures of graphs are compared if `draw` makes them, and if the pack was made where something drew them.
    """
    drawn = {name for name in opened.hashes if name.startswith(f"{FOLDER}/graph-")}
    draw, drawn = (draw, set()) if drawn and draw is not None else (None, drawn)
    contents = Contents(opened.project, opened.tables, opened.header, draw, opened.inputs.inputs)
    read = set(opened.inputs.entries)
    made = documents(contents)
    sizes = {
        name: (opened.documents / name).stat().st_size
        for name in opened.hashes
        if name in {*made, *FACTS, INPUTS_NAME, *read}
    }
    held = {stored.path: stored.size_bytes for stored in stored_files(opened.tables)}
    held = {path: size for path, size in held.items() if path not in opened.header.left_out}
    sizes |= held | {name: (opened.documents / name).stat().st_size for name in drawn}
    made[METADATA_NAME] = crate_metadata(provenance(contents, {*made, *drawn, *read}), sizes)
    for name in sorted(opened.hashes):
        if name in made and (opened.documents / name).read_bytes() != made[name]:
            yield {"name": name, "what": "is not what the pack's rows and files say"}
        elif name not in {*made, *FACTS, INPUTS_NAME, *held, *drawn, *read}:
            yield {"name": name, "what": "belongs to no pack"}
    for name in sorted({*made, *FACTS} - opened.hashes.keys()):
        yield {"name": name, "what": "is not in the pack"}
