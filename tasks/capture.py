"""Capture: the MLP hidden h of chosen layers, from a corpus to shards on disk (METHOD §6).

One forward serves all layers and stops after the last; the first position of each window is left out; documents are
split into train and validation. Each shard keeps the document and position of every row, so that contexts can be read
again from the corpus.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from store.errors import WorkbenchError
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.project import Project
    from tasks.context import Context
    from tasks.dictionaries.corpus_text import CorpusText
    from tasks.dictionaries.shards import Shard
    from tasks.model.language_model import LanguageModel

SHARD_BYTES = 1 << 26
"""About how large a shard becomes."""
_HEADROOM = 1.05


class Params(_Params):
    """The options of `workbench capture`."""

    layers: str = option("", "Layers, as 4-12,20; six spread over the model if left out.")
    tokens: int = option(60_000, "Tokens to read, train and validation together.", unit="tokens", ge=1)
    corpus: str = option("offline", "Text to read: offline, a file or directory, or hub:NAME.")
    context_length: int = option(64, "Longest window of one document.", unit="tokens", ge=2)
    validation_share: float = option(0.1, "Share of the documents kept from training.", gt=0.0, le=0.5)
    dtype: Literal["bfloat16", "float32"] = option("bfloat16", "How h is stored; bfloat16 keeps 8 bits of mantissa.")
    seed: int = option(0, "Decides the split and the order of documents.", ge=0)

    def text(self, model: LanguageModel) -> CorpusText:
        """What is read: the same windows whenever it is read."""
        from tasks.dictionaries.corpus_text import CorpusText

        return CorpusText(model, self.corpus, self.context_length, self.tokens, self.validation_share, self.seed)


@dataclass(frozen=True)
class Result:
    """A capture whose shards are on the disk."""

    params: Params
    layers: list[int]
    shards: list[Shard]
    corpus_hash: str
    n_documents: int
    n_rows: dict[str, int]
    """Split -> rows a layer."""

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The rows of tables `capture` and `shard`."""
        params = self.params
        cursor = project.db.execute(
            "INSERT INTO capture (job_id, corpus, corpus_hash, layers, n_documents, n_tokens, context_length, seed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                job_id,
                params.corpus,
                self.corpus_hash,
                json.dumps(self.layers),
                self.n_documents,
                sum(self.n_rows.values()),
                params.context_length,
                params.seed,
            ],
        )
        for shard in self.shards:
            project.db.execute(
                "INSERT INTO shard (capture_id, file_id, layer, split, n_rows) VALUES (?, ?, ?, ?, ?)",
                [cursor.lastrowid, project.record_file(shard.stored), shard.layer, shard.split, shard.n_rows],
            )
        return {
            "capture": cursor.lastrowid,
            "layers": self.layers,
            "corpus": params.corpus,
            "corpus_hash": self.corpus_hash,
            "documents": self.n_documents,
            "train_tokens": self.n_rows["train"],
            "validation_tokens": self.n_rows["validation"],
            "shards": len(self.shards),
            "bytes": sum(shard.stored.size_bytes for shard in self.shards),
        }


def run(params: Params, context: Context) -> Result:
    """Stream h to shards. The disk is asked for room before the model runs."""
    from tasks.dictionaries.corpus_text import SPLITS
    from tasks.dictionaries.layer_choice import chosen_layers
    from tasks.dictionaries.shards import DTYPES, ShardWriter
    from tasks.model.hidden import stream_hidden

    model = context.model
    layers = chosen_layers(model, params.layers)
    row_bytes = model.d_mlp * DTYPES[params.dtype].itemsize
    check_room(context.project.directory, params.tokens * len(layers) * row_bytes)
    text = params.text(model)
    text.require(*SPLITS)
    content_hash = text.content_hash()
    writer = ShardWriter(context.project.files, DTYPES[params.dtype], max(1, SHARD_BYTES // row_bytes))
    documents: set[int] = set()
    with context.stage("capturing h", params.tokens, "tokens") as stage:
        for split in SPLITS:
            for rows in stream_hidden(model, text.windows(split), layers):
                writer.add(split, rows)
                documents.update(rows.documents.unique().tolist())
                stage.advance(rows.n_rows)
            writer.flush(split)
    n_rows = {str(split): writer.n_rows(split) for split in SPLITS}
    return Result(params, layers, writer.written, content_hash, len(documents), n_rows)


def check_room(directory: Path, n_bytes: int) -> None:
    """Refuse work that the disk has no room for, with both figures."""
    needed, free = int(n_bytes * _HEADROOM), shutil.disk_usage(directory).free
    if needed > free:
        raise WorkbenchError(
            f"the shards need about {needed / 1e9:.2f} GB and the disk of {directory} has {free / 1e9:.2f} GB free",
            "capture fewer --tokens or --layers, or train without a capture, which streams",
        )
