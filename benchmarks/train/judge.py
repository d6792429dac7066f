"""The SAEs that the trainers left, read by the workbench's own importers and judged alike on held-out documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.train.harness import LAYER
from benchmarks.train.inputs import model, text
from tasks.dictionaries.faithfulness import measure_recovery
from tasks.dictionaries.formats.set_directory import read_set
from tasks.dictionaries.formats.weight_files import Shape
from tasks.dictionaries.quality import QualityMeter


def judged(folder: Path, data: Path, recovery_tokens: int) -> dict[str, Any]:
    """FVU, L0 and dead share on all held-out rows, and CE recovered on so many tokens (none: 0)."""
    language_model = model()
    shape = Shape(language_model.d_mlp, language_model.n_layers, language_model.spec)
    (foreign,) = read_set(folder, shape)
    meter = QualityMeter(foreign.autoencoder, language_model.layers[LAYER].down.weight.detach())
    rows = np.fromfile(data / "validation.f32", dtype=np.float32).reshape(-1, language_model.d_mlp)
    meter.add(torch.from_numpy(rows))
    document = meter.quality().document()
    if recovery_tokens:
        windows = text(recovery_tokens).validation_windows(recovery_tokens)
        saes, means = {LAYER: foreign.autoencoder}, {LAYER: meter.mean()}
        ((recovery,), _) = _values(measure_recovery(language_model, saes, means, windows, lambda _n: None))
        document |= recovery.document()
    return document


def _values(found: Any) -> Any:
    by_layer, joint = found
    return list(by_layer.values()), joint


def product_flops(width: int, features: int, batch: int, threads: int) -> float:
    """The best of ten float32 products of the encoder's shape, in operations a second."""
    import time

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x, w = torch.randn(batch, width), torch.randn(features, width)
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        torch.mm(x, w.T)
        times.append(time.perf_counter() - begun)
    torch.set_num_threads(before)
    return 2 * batch * width * features / min(times)


if __name__ == "__main__":
    print(judged(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
