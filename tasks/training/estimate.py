"""What a run will take: layers in groups that fit the memory, bytes of memory and disk, and seconds (METHOD §6).

Bytes follow from shapes; seconds from a step and a forward that are tried out before the start.
"""

import os
import resource
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from store.errors import BadInput, WorkbenchError
from tasks.dictionaries.corpus_text import CorpusText
from tasks.dictionaries.streamed import BufferShape
from tasks.model.hidden import stream_hidden
from tasks.model.language_model import LanguageModel
from tasks.training.encoder import BUFFER_ENTRIES
from tasks.training.plan import TrainingPlan
from tasks.training.trainer import LayerTrainer

_FLOAT = 4
_WEIGHT_COPIES = 6
"""Encoder and decoder, each with Adam's two averages."""
_BATCH_COPIES = 6
"""x, x̂, residual, rows as they come, and two on the way."""
_FREE_SHARE = 0.6
"""Of the memory that is free when the run starts, where no bound is given."""
_TRIED_STEPS = 2
_HEADROOM = 1.05


@dataclass(frozen=True)
class RunPlan:
    """What a run will do and take, said before it starts."""

    groups: list[list[int]]
    """Layers that train together, from one pass over the text."""
    rounds: int
    """Buffer-fulls a group."""
    buffer_bytes: int
    memory_bytes: int
    """Of the process at its height, model and libraries included."""
    disk_bytes: int
    seconds: float

    def document(self, peak_bytes: int, disk_bytes: int, seconds: float) -> dict[str, object]:
        """Under the names that `--json` uses, beside what was measured."""
        return {
            "groups": self.groups,
            "rounds": self.rounds,
            "buffer_bytes": self.buffer_bytes,
            "estimated": {"memory_bytes": self.memory_bytes, "disk_bytes": self.disk_bytes, "seconds": self.seconds},
            "measured": {"memory_bytes": peak_bytes, "disk_bytes": disk_bytes, "seconds": seconds},
        }


def layer_bytes(plan: TrainingPlan, width: int) -> int:
    """What stays in memory of a layer while its group trains."""
    return _WEIGHT_COPIES * plan.n_features * width * _FLOAT


def step_bytes(plan: TrainingPlan, width: int) -> int:
    """What a step takes on top: a batch several times over, the scores' buffer, the encoder in bfloat16, codes."""
    batch = _BATCH_COPIES * plan.batch_size * width * _FLOAT
    pairs = 40 * plan.batch_size * plan.k
    return batch + BUFFER_ENTRIES * _FLOAT + 2 * plan.n_features * width + pairs


def training_bytes(plan: TrainingPlan, width: int, n_layers: int, buffer_bytes: int) -> int:
    """A group of so many layers at its height; a checkpoint adds nothing, a finished SAE is one copy of its weights."""
    finished = 2 * plan.n_features * width * _FLOAT
    return n_layers * layer_bytes(plan, width) + step_bytes(plan, width) + finished + buffer_bytes


def grouped(layers: Sequence[int], plan: TrainingPlan, width: int, buffer_bytes: int, bound: int) -> list[list[int]]:
    """As few groups as keep `training_bytes` within the bound, and as even; `BadInput` if one layer does not."""
    least = training_bytes(plan, width, 1, buffer_bytes)
    if least > bound:
        raise BadInput(
            f"one layer needs {least / 2**30:.2f} GiB to train and {bound / 2**30:.2f} GiB may be used",
            "lower --features or --buffer, or raise --memory",
        )
    most = 1 + (bound - least) // layer_bytes(plan, width)
    n_groups = -(-len(layers) // most)
    edges = [len(layers) * i // n_groups for i in range(n_groups + 1)]
    return [list(layers[first:last]) for first, last in pairwise(edges)]


def free_memory(device: torch.device) -> int:
    """What a run may use where no bound is given: a share of what is free."""
    if device.type == "cuda":
        return int(_FREE_SHARE * torch.cuda.mem_get_info(device)[0])
    return int(_FREE_SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def peak_memory(device: torch.device) -> int:
    """Bytes of this process at its height so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def disk_needed(plan: TrainingPlan, width: int, groups: list[list[int]]) -> int:
    """Weights of every layer twice (kept, and in its last checkpoint), a group's checkpoints, and one being written."""
    weights = 2 * plan.n_features * width * _FLOAT
    largest = max(map(len, groups))
    return 2 * sum(map(len, groups)) * weights + (largest + 1) * layer_bytes(plan, width)


def refuse_full_disk(directory: Path, n_bytes: int) -> None:
    """Refuse a run that the disk has no room for, with both figures."""
    needed, free = int(n_bytes * _HEADROOM), shutil.disk_usage(directory).free
    if needed > free:
        raise WorkbenchError(
            f"training needs about {needed / 2**30:.2f} GiB of disk for weights and checkpoints, and the disk of"
            f" {directory} has {free / 2**30:.2f} GiB free",
            "train fewer --layers at a time, lower --features, or make room",
        )


def seconds_per_row(plan: TrainingPlan, width: int, device: torch.device) -> float:
    """A step on random rows, tried out, by the row."""
    rows = torch.randn(plan.batch_size, width, generator=torch.Generator().manual_seed(0)).to(device)
    trainer = LayerTrainer.start(0, plan, rows)
    trainer.step(rows)
    started = time.monotonic()
    for _ in range(_TRIED_STEPS):
        trainer.step(rows)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.monotonic() - started) / (_TRIED_STEPS * len(rows))


def forward_seconds_per_row(model: LanguageModel, text: CorpusText, layers: Sequence[int]) -> float:
    """A forward up to the last of the layers, tried out on the first windows, by the row."""
    first = next(text.windows("train"))
    list(stream_hidden(model, [first], layers))
    started = time.monotonic()
    (rows,) = stream_hidden(model, [first], layers)
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return (time.monotonic() - started) / max(1, rows.n_rows)


def buffer_size(model: LanguageModel, shape: BufferShape, n_layers: int, n_rows: int) -> int:
    """Bytes of the rows that a group of layers holds."""
    held = min(shape.rows, n_rows) + shape.validation_rows
    return n_layers * held * model.d_mlp * model.dtype.itemsize
