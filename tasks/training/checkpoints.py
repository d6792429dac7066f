"""Where a trainer writes itself down, so that a killed run goes on where it was (SAFETY: nothing lost).

A checkpoint's name holds the run, the layer, how far it is and the hash of its content, so that a torn or altered one
is never taken for sound. It replaces the one before only once it is on the disk itself.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from store.files import content_hash, sync
from store.project import Project

_NAME = re.compile(r"resume_(?P<run>[0-9a-f]+)_L(?P<layer>\d+)_(?P<rows>\d+)_(?P<hash>[0-9a-f]{32})\.safetensors")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in the project's `weights` folder."""

    folder: Path
    run: str
    """Hex digits that stand for all that decides the outcome of the run."""

    @classmethod
    def of(cls, project: Project, run: str) -> "Checkpoints":
        """The checkpoints of the run with that key."""
        folder = project.directory / "weights"
        folder.mkdir(exist_ok=True)
        return cls(folder, run)

    def write(self, layer: int, rows: int, tensors: dict[str, Tensor], text: dict[str, str]) -> None:
        """Keep this state of a layer, after `rows` rows, and forget the one before."""
        before = self._found(layer)
        temporary = self.folder / f".writing-{secrets.token_hex(8)}.safetensors"
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, text)
            sync(temporary)
            name = f"resume_{self.run}_L{layer}_{rows}_{content_hash(temporary)}.safetensors"
            temporary.replace(self.folder / name)
        finally:
            temporary.unlink(missing_ok=True)
        sync(self.folder)
        for path in before:
            if path.name != name:
                path.unlink()

    def read(self, layer: int, device: torch.device) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """The furthest sound state of a layer, or None. An altered one is passed over: that part is trained again."""
        for path in reversed(self._found(layer)):
            matched = _NAME.fullmatch(path.name)
            if matched is None or content_hash(path) != matched["hash"]:
                continue
            try:
                with safe_open(path, framework="pt") as file:
                    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
                    text: Mapping[str, str] = file.metadata() or {}
            except SafetensorError:
                continue
            return {name: tensor.to(device) for name, tensor in tensors.items()}, dict(text)
        return None

    def forget(self) -> None:
        """Remove every checkpoint of this run: its result is in the project."""
        for path in self.folder.glob(f"resume_{self.run}_*.safetensors"):
            path.unlink(missing_ok=True)

    def total_bytes(self) -> int:
        """What this run's checkpoints take on the disk."""
        return sum(path.stat().st_size for path in self.folder.glob(f"resume_{self.run}_*.safetensors"))

    def _found(self, layer: int) -> list[Path]:
        """The checkpoints of a layer, the furthest last."""
        paths = self.folder.glob(f"resume_{self.run}_L{layer}_*.safetensors")
        return sorted(paths, key=lambda path: int(path.name.split("_")[3]))


def forget_finished(project: Project) -> None:
    """Remove the checkpoints of runs whose dictionaries are in the project."""
    sql = "SELECT DISTINCT json_extract(config, '$.run') FROM dictionary"
    for (run,) in project.db.execute(sql).fetchall():
        if run:
            Checkpoints.of(project, run).forget()
