"""Dictionary sets that stay in memory between jobs, under a byte budget, least recently used out first."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.memory_use import host_memory_bytes

if TYPE_CHECKING:
    from store.project import Project
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.model.language_model import LanguageModel

_COMMIT = re.compile(r"[0-9a-f]{40}")
Key = tuple[object, ...]
"""A set's name and all that decides what is loaded under it."""


class ResidentDictionaries:
    """The sets of one model. Without a budget nothing is kept: every use loads the set anew.

    A set is known by its name and by its files (hashes in the rows; size and time of change on the disk; commit on the
    hub), so that one that was trained again or damaged since is loaded again.
    """

    def __init__(self, budget_bytes: int | None = 0) -> None:
        """Keep sets of together at most `budget_bytes`; None: a quarter of the memory where the model is."""
        self.budget_bytes = budget_bytes
        self._held: dict[Key, tuple[DictionarySet, int]] = {}

    def get(self, project: Project, name: str, model: LanguageModel, note: Callable[[str], None]) -> DictionarySet:
        """The set of that name, from memory if it is there unchanged; raises what `load_dictionary_set` raises.

        Room is made before a set is loaded. One that is larger than the budget is used and not kept, which `note` is
        told.
        """
        from tasks.dictionaries.loading import load_dictionary_set

        if self.budget_bytes is None:
            self.budget_bytes = _memory_bytes(model) // 4
        if not self.budget_bytes:
            return load_dictionary_set(project, name, model)
        key, file_bytes = _identity(project, name)
        if (known := self._held.pop(key, None)) is not None:
            self._held[key] = known
            return known[0]
        for stale in [held for held in self._held if held[0] == key[0]]:
            del self._held[stale]
        self._make_room(file_bytes)
        found = load_dictionary_set(project, name, model)
        self._keep(key, found, note)
        return found

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every set that is held, the one that goes next first. Any thread may ask."""
        return {held.name: size for held, size in list(self._held.values())}

    def clear(self) -> None:
        """Let every set go."""
        self._held.clear()

    def _make_room(self, n_bytes: int) -> None:
        """Let the sets go that were not used for longest, until `n_bytes` more fit or none is left."""
        while self._held and sum(size for _, size in self._held.values()) + n_bytes > (self.budget_bytes or 0):
            del self._held[next(iter(self._held))]

    def _keep(self, key: Key, found: DictionarySet, note: Callable[[str], None]) -> None:
        size = held_bytes(found)
        self._make_room(size)
        if size > (budget_bytes := self.budget_bytes or 0):
            note(
                f"the set {found.name} takes {size / 2**30:.2f} GiB and the worker keeps sets of together at most "
                f"{budget_bytes / 2**30:.2f} GiB (--memory): it is loaded again when it is needed again"
            )
            return
        self._held[key] = found, size


def held_bytes(dictionaries: DictionarySet) -> int:
    """What the tensors of a set take, those too that are mapped from their files."""
    import torch

    tensors = [
        value
        for dictionary in dictionaries.layers.values()
        for value in vars(dictionary).values()
        if isinstance(value, torch.Tensor)
    ]
    return sum(tensor.nbytes for tensor in tensors)


def _memory_bytes(model: LanguageModel) -> int:
    """What there is of the memory that the model is in."""
    import torch

    if model.device.type == "cuda":
        return int(torch.cuda.get_device_properties(model.device).total_memory)
    return host_memory_bytes()


def _identity(project: Project, name: str) -> tuple[Key, int]:
    """What a set is known by, and the bytes of its files as far as they are here."""
    from tasks.dictionaries.transcoder_files import PREFIX

    if name.startswith(PREFIX):
        return _transcoder_identity(name.removeprefix(PREFIX))
    sql = (
        "SELECT layer, hash, path, size_bytes FROM dictionary JOIN file ON file.id = file_id"
        " WHERE dictionary.name = ? ORDER BY layer"
    )
    rows = project.db.execute(sql, [name]).fetchall()
    on_disk = tuple(_stamp(project.directory / row[2]) for row in rows)
    return (name, tuple(rows), on_disk), sum(row[3] for row in rows)


def _transcoder_identity(spec: str) -> tuple[Key, int]:
    """A directory is known by its files, a repository of the hub by the commit that its name means now."""
    from tasks.dictionaries.transcoder_hub import Hub, HubPlace, commit_of

    path = Path(spec).expanduser().resolve()
    if path.exists():
        folder = path if path.is_dir() else path.parent
        stamps = {entry: _stamp(entry) for entry in sorted(folder.iterdir()) if entry.is_file()}
        weights = sum(stamp[0] for entry, stamp in stamps.items() if entry.suffix == ".safetensors")
        return (str(path), tuple(stamps.items())), weights
    place = HubPlace.parse(spec)
    if place is None:
        return (spec,), 0
    if place.revision is not None and _COMMIT.fullmatch(place.revision):
        return (spec, place.revision), 0
    config = place.within("config.yaml")
    return (spec, commit_of(config, Hub().fetch(config))), 0


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change; zeros if it is not there, which loading says."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_size, about.st_mtime_ns
