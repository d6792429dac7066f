"""The activations of the benchmark: h of layer 10 of the embedded model, shuffled rows, split by document."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.attribution_inputs import CACHE
from benchmarks.train.harness import LAYER
from tasks.dictionaries.corpus_text import CorpusText
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.hidden import stream_hidden
from tasks.model.language_model import LanguageModel
from tasks.model.sources import load_model

VALIDATION_ROWS = 16_384
CONTEXT_LENGTH = 128


@cache
def model() -> LanguageModel:
    """The embedded model."""
    return load_model(EMBEDDED_SPEC, "cpu")


def text(tokens: int) -> CorpusText:
    """The default corpus: a tenth of its documents held out, so much that training gets `tokens`."""
    return CorpusText(model(), "offline", CONTEXT_LENGTH, round(tokens / 0.9) + VALIDATION_ROWS, 0.1, 0)


def activations(tokens: int) -> Path:
    """A directory with `train.f32` ([≥ tokens, 1536] rows, shuffled) and `validation.f32`; made once a size."""
    directory = CACHE / f"h-layer{LAYER}-{tokens}"
    if (directory / "train.f32").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    corpus = text(tokens)
    for file, windows, most in (
        ("validation.f32", corpus.validation_windows(VALIDATION_ROWS), VALIDATION_ROWS),
        ("train.f32", corpus.windows("train"), tokens),
    ):
        rows = torch.cat([part.hidden[LAYER].float() for part in stream_hidden(corpus.model, windows, [LAYER])])
        if len(rows) < most and file == "train.f32":
            raise SystemExit(f"the corpus gives {len(rows)} training tokens; ask for fewer --tokens")
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:most]
        part = directory / f".{file}"
        rows[order].numpy().astype(np.float32).tofile(part)
        os.rename(part, directory / file)
    return directory
