"""The files of a capture: consecutive rows of one layer, `h` [n, m] with the document and position of each row."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from store.errors import BadInput, Damaged
from store.files import FileStore, StoredFile
from store.project import Project
from tasks.corpora.tokens import Split
from tasks.model.hidden import HiddenRows

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
"""How h may be stored."""
_NAMES = ("h", "document", "position")


@dataclass(frozen=True)
class Shard:
    """One file, and what its row says of it."""

    stored: StoredFile
    layer: int
    split: Split
    n_rows: int


@dataclass(frozen=True)
class ShardRows:
    """Rows of one layer and where in the corpus they are from."""

    h: Float[Tensor, "rows width"]
    documents: Int[Tensor, " rows"]
    positions: Int[Tensor, " rows"]


@dataclass
class ShardWriter:
    """Collects rows until they make a shard, and writes one a layer."""

    files: FileStore
    dtype: torch.dtype
    rows_a_shard: int
    written: list[Shard] = field(default_factory=list)
    _held: list[HiddenRows] = field(default_factory=list)

    def add(self, split: Split, rows: HiddenRows) -> None:
        """Hold these rows, and write what is held once it fills a shard. Splits come one after the other."""
        hidden = {layer: h.to(self.dtype).cpu() for layer, h in rows.hidden.items()}
        self._held.append(HiddenRows(hidden, rows.documents, rows.positions))
        if sum(held.n_rows for held in self._held) >= self.rows_a_shard:
            self.flush(split)

    def flush(self, split: Split) -> None:
        """Write what is held."""
        if not self._held:
            return
        documents = torch.cat([rows.documents for rows in self._held]).int()
        positions = torch.cat([rows.positions for rows in self._held]).int()
        for layer in self._held[0].hidden:
            h = torch.cat([rows.hidden[layer] for rows in self._held])
            self.written.append(self._write(layer, split, ShardRows(h, documents, positions)))
        self._held = []

    def n_rows(self, split: Split) -> int:
        """Rows a layer that were written."""
        layers = {shard.layer for shard in self.written}
        return sum(shard.n_rows for shard in self.written if shard.split == split) // max(1, len(layers))

    def _write(self, layer: int, split: Split, rows: ShardRows) -> Shard:
        tensors = dict(zip(_NAMES, (rows.h, rows.documents, rows.positions), strict=True))
        stored = self.files.write("activations", f"L{layer}-{split}.safetensors", lambda path: save_file(tensors, path))
        return Shard(stored, layer, split, len(rows.h))


def shards_of(project: Project, capture_id: int) -> list[Shard]:
    """The shards of a capture, in the order they were written; `BadInput` names the captures there are."""
    sql = (
        "SELECT path, size_bytes, hash, layer, split, n_rows FROM shard JOIN file ON file.id = file_id"
        " WHERE capture_id = ? ORDER BY shard.id"
    )
    rows = project.db.execute(sql, [capture_id]).fetchall()
    if not rows:
        known = [str(row[0]) for row in project.db.execute("SELECT id FROM capture ORDER BY id").fetchall()]
        mend = f"the captures are {', '.join(known)}" if known else "`workbench capture` makes one"
        raise BadInput(f"no capture {capture_id} in this project", mend)
    return [Shard(StoredFile(*row[:3]), *row[3:]) for row in rows]


def read_shard(project: Project, shard: Shard, first: int, last: int) -> ShardRows:
    """Rows [first, last) of a shard whose hash has been checked; `Damaged` names a file that is no such shard."""
    damaged = Damaged(f"{shard.stored.path} is not the shard that its row describes", "capture again")
    expected: dict[str, Sequence[int]] = {
        "h": [shard.n_rows, project.model.d_mlp],
        "document": [shard.n_rows],
        "position": [shard.n_rows],
    }
    try:
        with safe_open(project.directory / shard.stored.path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in _NAMES}
            if any(slices[name].get_shape() != shape for name, shape in expected.items()):
                raise damaged
            return ShardRows(*(slices[name][first:last] for name in _NAMES))
    except (OSError, SafetensorError) as error:
        raise damaged from error
