"""Capture beside the least that it could cost: a bare hook that stops the forward, and the forward itself.

    python -m benchmarks.capture [--tokens 8192] [--rounds 5] [--threads 1] [--saelens]

Processor seconds of the embedded model over the same windows of the default corpus. In each round every way runs once;
printed are medians and, round by round, the ratios that the bars are about. `--saelens` adds SAELens' ActivationsStore,
in its own environment.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.attribution_inputs import embedded_model
from benchmarks.train.__main__ import python_of
from benchmarks.train.harness import LAYER
from benchmarks.train.inputs import CONTEXT_LENGTH
from tasks.corpora.tokens import TokenBatch
from tasks.dictionaries.corpus_text import CorpusText
from tasks.model.hidden import stream_hidden
from tasks.model.language_model import LanguageModel

ROOT = Path(__file__).parents[1]
PROMPTS = 32
"""Windows a forward, where they are full."""
BARS = {"one layer / bare early exit": 0.95, "all layers / plain forward": 0.9}


class _Stop(Exception):
    pass


def bare_early_exit(model: LanguageModel, batches: Sequence[TokenBatch]) -> Iterator[Tensor]:
    """The least a capture of one layer can do: a hook that keeps h and stops; padding and all."""

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(inputs[0])
        raise _Stop

    kept: list[Tensor] = []
    handle = model.layers[LAYER].down.register_forward_pre_hook(hook)
    try:
        for batch in batches:
            try:
                with torch.no_grad():
                    model.hf.get_decoder()(input_ids=batch.tokens, attention_mask=batch.mask.long(), use_cache=False)
            except _Stop:
                yield kept.pop()
    finally:
        handle.remove()


def plain_forward(model: LanguageModel, batches: Sequence[TokenBatch]) -> Iterator[Tensor]:
    """The decoder without the language-model head, nothing kept."""
    for batch in batches:
        with torch.no_grad():
            yield model.hf.get_decoder()(
                input_ids=batch.tokens, attention_mask=batch.mask.long(), use_cache=False
            ).last_hidden_state


def captured(model: LanguageModel, batches: Sequence[TokenBatch], layers: Sequence[int]) -> Iterator[Tensor]:
    """What `workbench capture` and `train` read."""
    for rows in stream_hidden(model, batches, layers):
        yield rows.hidden[layers[-1]]


def cpu_seconds(run: Callable[[], Iterator[Tensor]]) -> float:
    """Of going through all of it."""
    begun = time.process_time()
    for _ in run():
        pass
    return time.process_time() - begun


def full_windows(batches: Sequence[TokenBatch]) -> list[TokenBatch]:
    """The same tokens without padding, document after document, in whole windows: what SAELens' store reads."""
    flat = torch.cat([batch.tokens[batch.mask] for batch in batches])
    windows = flat[: len(flat) // CONTEXT_LENGTH * CONTEXT_LENGTH].reshape(-1, CONTEXT_LENGTH)
    nowhere = torch.zeros_like(windows)
    return [
        TokenBatch(each, torch.ones_like(each, dtype=torch.bool), none, none)
        for each, none in zip(windows.split(PROMPTS), nowhere.split(PROMPTS), strict=True)
    ]


def saelens_seconds(directory: Path, batches: Sequence[TokenBatch], threads: int) -> tuple[float, float]:
    """A token of these windows through SAELens' ActivationsStore, in its own environment; what of it is the forward."""
    with tempfile.TemporaryDirectory() as made:
        tokens = Path(made) / "tokens.safetensors"
        save_file({"tokens": torch.cat([batch.tokens.flatten() for batch in batches])}, tokens)
        words: list[str | Path] = [
            python_of("saelens"),
            "-m",
            "benchmarks.train.peers.saelens_store",
            directory,
            tokens,
        ]
        words += [str(CONTEXT_LENGTH), str(LAYER), str(threads), str(PROMPTS)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["cpu_s"] / found["tokens"], found["forward_cpu_s"] / found["tokens"]


def beside_saelens(model: LanguageModel, directory: Path, batches: Sequence[TokenBatch], options: Any) -> None:
    """SAELens' store and ours in turn over the same full windows."""
    windows = full_windows(batches)
    n_tokens = sum(batch.tokens.numel() for batch in windows)
    ours, theirs, forwards, bare = [], [], [], []
    for _ in range(options.rounds):
        store, forward = saelens_seconds(directory, windows, options.threads)
        theirs.append(store)
        forwards.append(forward)
        ours.append(cpu_seconds(lambda: captured(model, windows, [LAYER])) / n_tokens)
        bare.append(cpu_seconds(lambda: bare_early_exit(model, windows)) / n_tokens)
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    print(f"| one layer, {n_tokens} tokens in full windows | {1 / median(ours):.0f} |")
    print(f"| SAELens' store on them | {1 / median(theirs):.0f} |")
    print(f"\none layer / SAELens' store: {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), bar 1.5")
    shares = median(bare) / median(ours), median(forwards) / median(theirs)
    print(f"of it the forward up to layer {LAYER}: ours {shares[0]:.0%}, SAELens' {shares[1]:.0%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--saelens", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, directory = embedded_model()
    text = CorpusText(model, "offline", CONTEXT_LENGTH, options.tokens, 0.1, 0)
    batches = list(text.windows("train"))
    n_tokens = sum(int(batch.mask.sum()) for batch in batches)
    ways: dict[str, Callable[[], Iterator[Tensor]]] = {
        "bare early exit": lambda: bare_early_exit(model, batches),
        "one layer": lambda: captured(model, batches, [LAYER]),
        "plain forward": lambda: plain_forward(model, batches),
        "all layers": lambda: captured(model, batches, list(range(model.n_layers))),
    }
    for way in ways.values():
        next(iter(way()))
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            taken[name].append(cpu_seconds(way))
    print(f"{n_tokens} tokens, windows of at most {CONTEXT_LENGTH}, {options.threads} threads, {options.rounds} rounds")
    print("\n| way | tokens / CPU-s |\n| --- | --- |")
    for name, seconds in taken.items():
        print(f"| {name} | {n_tokens / median(seconds):.0f} |")
    if options.saelens:
        beside_saelens(model, directory, batches, options)
    for name, bar in BARS.items():
        ours, least = name.split(" / ")
        ratios = [b / a for a, b in zip(taken[ours], taken[least], strict=True)]
        print(f"{name}: {median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f}), bar {bar}")


if __name__ == "__main__":
    main()
