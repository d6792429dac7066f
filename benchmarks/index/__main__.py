"""The index beside SAEDashboard: the same SAE, tokens and threads, processor seconds of all that makes a card.

    python -m benchmarks.index [--tokens 4096] [--features 2048] [--threads 1] [--json FILE]

Printed are tokens a CPU-second, the ratio (bar: 5), and the share of features whose strongest examples are at the same
places. The SAE is made, not trained: unit rows of the layer's own activations, TopK 32. Loading is counted for neither.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.attribution_inputs import CACHE, embedded_model
from tasks.corpora import Corpus, open_corpus
from tasks.corpora.tokens import TokenBatch, document_tokens
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.formats.saelens import write_saelens
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.dictionaries.shards import ShardRows
from tasks.indexing.describe import TokenTexts, described
from tasks.indexing.places import unpacked
from tasks.indexing.sources import Piece, Share
from tasks.indexing.text_pass import TextPass, read_text
from tasks.model.hidden import stream_hidden
from tasks.model.language_model import LanguageModel
from tasks.training.checkpoints import Checkpoints

ROOT = Path(__file__).parents[2]
VERSION = "0.8.0"
LAYER, K, CONTEXT, WINDOWS_AT_ONCE = 14, 32, 64, 32
N_TOP, N_NEIGHBOURS, N_PROMOTED = 20, 10, 10
PEERS_AT_ONCE = 256
"""Features that SAEDashboard describes together unless told otherwise: the model runs once for each such batch."""
BAR = 5.0
TIE = 1e-4
"""Two programs' float32 sums differ by less than this share of an activation."""
Top = list[list[tuple[int, int, float]]]
"""Of every feature: (window, position, activation), the strongest first."""


@dataclass(frozen=True)
class Windows:
    """The first tokens of documents, in batches; a source of rows for the pass."""

    model: LanguageModel
    batches: list[TokenBatch]
    corpus_hash: str = ""

    def pieces(self, share: Share, skip: int) -> Iterator[Piece]:
        """One forward a batch."""
        for number, rows in enumerate(stream_hidden(self.model, self.batches, [LAYER])):
            yield Piece(number, {LAYER: ShardRows(rows.hidden[LAYER], rows.documents, rows.positions)})

    def hash_before(self, number: int) -> str:
        """Nothing is resumed here."""
        return ""


def inputs(model: LanguageModel, n_tokens: int) -> tuple[list[TokenBatch], Corpus]:
    """Windows of `CONTEXT` tokens from the default corpus, a document each, and the corpus that they are."""
    texts: list[str] = []
    windows: list[list[int]] = []
    for document in open_corpus("offline").documents():
        tokens = document_tokens(model, document.text)
        if len(tokens) >= CONTEXT:
            texts.append(document.text)
            windows.append(tokens[:CONTEXT])
        if len(windows) * CONTEXT >= n_tokens:
            break
    ids = torch.tensor(windows)
    documents = torch.arange(len(ids))[:, None].expand_as(ids)
    positions = torch.arange(CONTEXT).expand_as(ids)
    whole = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), documents, positions)
    parts = [whole[slice(first, first + WINDOWS_AT_ONCE)] for first in range(0, len(ids), WINDOWS_AT_ONCE)]
    return parts, Corpus("benchmark", lambda: iter(texts))


def made_sae(model: LanguageModel, batches: list[TokenBatch], n_features: int) -> SparseAutoencoder:
    """Every feature reads and writes the direction of one token's h."""
    rows: list[Tensor] = []
    for found in stream_hidden(model, batches, [LAYER]):
        rows.append(found.hidden[LAYER].float())
        if sum(map(len, rows)) >= n_features:
            break
    h = torch.cat(rows)[:n_features]
    directions = torch.nn.functional.normalize(h - h.mean(0), dim=1)
    zeros = torch.zeros(n_features), torch.zeros(model.d_mlp)
    return SparseAutoencoder(LAYER, directions, zeros[0], directions.clone(), zeros[1], K, n_features)


def ours(
    model: LanguageModel, sae: SparseAutoencoder, batches: list[TokenBatch], corpus: Corpus, scratch: Path
) -> dict[str, Any]:
    """The pass and the description, without the rows' insertion."""
    held = DictionarySet("made", {LAYER: sae})
    begun = time.process_time()
    state = TextPass.empty(held, [LAYER], N_TOP, model.device)
    checkpoints = Checkpoints(scratch, "0")
    read_text(state, Windows(model, batches), Share(), held, lambda _rows: None, checkpoints, 1 << 40)
    passed = time.process_time()
    layers = {LAYER: (sae, state.layers[LAYER])}
    found = list(described(model, layers, corpus, TokenTexts(model), N_PROMOTED, N_NEIGHBOURS))
    done = time.process_time()
    forward = time.process_time()
    for _ in stream_hidden(model, batches, [LAYER]):
        pass
    assert len(found[0][1].features) == sae.n_features
    return {
        "cpu_s": done - begun, "pass_s": passed - begun, "forward_s": time.process_time() - forward,
        "top": strongest(state), "state_bytes": state.layers[LAYER].state_bytes(),
    }  # fmt: skip


def strongest(state: TextPass) -> Top:
    """The examples of every feature."""
    kept = state.layers[LAYER].strongest
    columns = (*unpacked(kept.places), kept.values)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [[each for each in zip(*row, strict=True) if each[2] > 0] for row in rows]


def peers(directory: Path, folder: Path, batches: list[TokenBatch], scratch: Path, threads: int, at_once: int) -> Any:
    """SAEDashboard in its own process."""
    environment = CACHE / f"sae-dashboard-{VERSION}"
    subprocess.run(["sh", ROOT / "benchmarks/index/install.sh", environment], check=True)
    tokens = scratch / "tokens.safetensors"
    save_file({"tokens": torch.cat([batch.tokens for batch in batches])}, tokens)
    variables = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    words = [directory, folder, tokens, LAYER, threads, at_once]
    done = subprocess.run(
        [environment / "bin/python", "-m", "benchmarks.index.peer", *map(str, words)],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"SAEDashboard failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def let_norms_fold(config: Path) -> None:
    """The peer folds the decoder's norms in, and does so for TopK only under this key; the norms here are one."""
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rescale_acts_by_decoder_norm": True}))


def agreement(ours: Top, theirs: dict[str, list[list[float]]]) -> tuple[float, float]:
    """(share of features, share of examples) at the same places; examples that tie with the last one do not count.

    The peer fills up with tokens on which the feature is silent: those are left out.
    """
    same = examples = held = 0
    for feature, kept in enumerate(ours):
        sound = [each for each in kept if len(kept) < N_TOP or each[2] > kept[-1][2] * (1 + TIE)]
        places = {(int(window), int(position)) for window, position, *_ in theirs[str(feature)]}
        found = sum((window, position) in places for window, position, _ in sound)
        same += found == len(sound)
        held += found
        examples += len(sound)
    return same / len(ours), held / max(1, examples)


def main() -> None:
    """Run both, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, directory = embedded_model()
    batches, corpus = inputs(model, options.tokens)
    n_tokens = sum(batch.tokens.numel() for batch in batches)
    sae = made_sae(model, batches, options.features)
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        folder = scratch / "sae"
        write_saelens(sae, folder, "embedded")
        let_norms_fold(folder / "cfg.json")
        mine = ours(model, sae, batches, corpus, scratch)
        report = {
            "tokens": n_tokens,
            "features": options.features,
            "ours": {k: v for k, v in mine.items() if k != "top"},
        }
        print(f"{n_tokens} tokens, {options.features} features, TopK {K}, layer {LAYER}")
        print(f"index           {mine['cpu_s']:8.2f} CPU-s  {n_tokens / mine['cpu_s']:8.0f} tokens a CPU-second"
              f"  (pass {mine['pass_s']:.2f} s; its forward alone {mine['forward_s']:.2f} s)")  # fmt: skip
        for name, at_once in (("SAEDashboard", PEERS_AT_ONCE), ("… in one batch", options.features)):
            theirs = peers(directory, folder, batches, scratch, options.threads, at_once)
            features, examples = agreement(mine["top"], theirs["top"])
            ratio = theirs["cpu_s"] / mine["cpu_s"]
            report[f"peer_{at_once}"] = {"cpu_s": theirs["cpu_s"], "ratio": ratio, "same_features": features,
                                         "same_examples": examples}  # fmt: skip
            print(f"{name:15} {theirs['cpu_s']:8.2f} CPU-s  {n_tokens / theirs['cpu_s']:8.0f} tokens a CPU-second"
                  f"  ratio {ratio:.1f} (bar {BAR:g}); same examples: {examples:.2%}, of {features:.2%} of the features"
                  " all")  # fmt: skip
            sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
