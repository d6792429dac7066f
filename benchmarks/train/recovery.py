"""CE and KL recovered of SAEs that `benchmarks.train --keep` left, document by document, with paired intervals.

    python -m benchmarks.train.recovery KEPT [--tokens 50000] [--threads 1] [--beside RUN]

KEPT holds a folder a run. Every SAE is spliced into layer 10 at the same positions (all of a window but its first) of
the same held-out windows. Sums of each document are kept beside the weights, so that more runs can be added later.
Intervals are of 2 000 bootstrap draws of whole documents; the same draws for all, so differences are paired.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.train.harness import LAYER, RUN_FILE
from benchmarks.train.inputs import model, text
from tasks.dictionaries.faithfulness import past_first
from tasks.dictionaries.formats.set_directory import read_set
from tasks.dictionaries.formats.weight_files import Shape
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.model.replay import HiddenChange, record

Sums = NDArray[np.float64]
"""[document, (tokens, Σ CE, Σ KL from the model itself)], nats."""
DRAWS = 2_000


def main() -> None:
    """Measure what is not kept yet, then print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path, nargs="+")
    parser.add_argument("--tokens", type=int, default=50_000, help="at most so many; the corpus holds about 40 000")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model-precision", choices=("float32", "bfloat16"), default="float32",
                        help="of the language model's products; SAEs are float32's")  # fmt: skip
    parser.add_argument("--beside", help="the run that others are compared with; the first by name if left out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folders = sorted(found.parent for root in options.kept for found in root.glob(f"*/{RUN_FILE}"))
    half = options.model_precision == "bfloat16"
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        files = measure(folders, options.tokens, f"recovery-{options.tokens}-{options.model_precision}.npz")
    held = {path.parent.name: dict(np.load(path, allow_pickle=False)) for path in files}
    print(table(held, options.beside or next(iter(held))))


def measure(folders: list[Path], tokens: int, name: str) -> list[Path]:
    """The files with the sums of every SAE: `replaced`, `zero`, `clean`. Those that are not there are made."""
    missing = [folder for folder in folders if not (folder / name).exists()]
    if missing:
        found = document_sums({str(folder): autoencoder(folder) for folder in missing}, tokens)
        for folder in missing:
            np.savez(folder / name, replaced=found[str(folder)], clean=found["clean"], zero=found["zero"])
    return [folder / name for folder in folders]


def autoencoder(folder: Path) -> SparseAutoencoder:
    """The SAE of a run, by this project's importers."""
    language_model = model()
    (foreign,) = read_set(folder, Shape(language_model.d_mlp, language_model.n_layers, language_model.spec))
    return foreign.autoencoder


@torch.no_grad()
def document_sums(autoencoders: Mapping[str, SparseAutoencoder], tokens: int) -> dict[str, Sums]:
    """Of each SAE, of zero and of the model itself."""
    language_model, per_document = model(), dict[int, dict[str, Sums]]()
    changes: dict[str, HiddenChange | None] = {"clean": None, "zero": past_first(torch.zeros_like)}
    changes |= {name: _replacing(each) for name, each in autoencoders.items()}
    for windows in text(tokens).validation_windows(tokens):
        predicted = torch.zeros_like(windows.mask)
        predicted[:, 1:-1] = windows.mask[:, 2:]
        following, owner = windows.tokens.roll(-1, dims=1)[predicted], windows.documents[predicted].numpy()
        recording = record(language_model, windows.tokens, windows.mask, predicted, LAYER)
        own = recording.logits({}).log_softmax(-1)
        for name, change in changes.items():
            logs = own if change is None else recording.logits({LAYER: change}).log_softmax(-1)
            ce = -logs.gather(1, following[:, None])[:, 0]
            kl = (own.exp() * (own - logs)).sum(1)
            values = torch.stack([torch.ones_like(ce), ce, kl], 1).double().numpy()
            for document in np.unique(owner):
                sums = per_document.setdefault(int(document), {}).setdefault(name, np.zeros(3))
                sums += values[owner == document].sum(0)
        print(f"{len(per_document)} documents", file=sys.stderr, flush=True)
    return {name: np.stack([per_document[d][name] for d in sorted(per_document)]) for name in changes}


def _replacing(sae: SparseAutoencoder) -> HiddenChange:
    def replaced(h: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return sae.decode(sae.encode(h.float()))

    return past_first(replaced)


def recovered(sums: Sums, ends: Mapping[str, Sums], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """CE and KL recovered against zero, [draws, 2]; `weights` [draws, documents] count each document."""
    replaced, clean, zero = (weights @ each[:, 1:] for each in (sums, ends["clean"], ends["zero"]))
    found: NDArray[np.float64] = (zero - replaced) / (zero - clean)
    return found


def draws(n_documents: int) -> NDArray[np.float64]:
    """How often each document is drawn: first as it is, then `DRAWS` bootstrap draws."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n_documents, np.full(n_documents, 1 / n_documents), size=DRAWS)
    return np.concatenate([np.ones((1, n_documents)), counts]).astype(np.float64)


def table(runs: Mapping[str, Mapping[str, Sums]], reference: str) -> str:
    """One line a run: CE and KL recovered, and what they are above those of the run `reference`."""
    ends = next(iter(runs.values()))
    weights = draws(len(ends["clean"]))
    found = {name: recovered(sums["replaced"], ends, weights) for name, sums in runs.items()}
    lines = [
        "| run | CE recovered | 95 % | above by | 95 % | KL recovered | 95 % | above by | 95 % |",
        "| --- " * 9 + "|",
    ]
    for name, values in found.items():
        cells = [name]
        for measure_ in range(2):
            cells += interval(values[:, measure_]) + interval(values[:, measure_] - found[reference][:, measure_])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(values: NDArray[np.float64]) -> list[str]:
    """The value itself, and between what 95 % of its bootstrap draws are."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return [f"{values[0]:.4f}", f"{low:.4f} to {high:.4f}"]


if __name__ == "__main__":
    main()
