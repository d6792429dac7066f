"""Which text should SAEs be trained on where nothing can be downloaded? The trial behind `offline` (docs/corpus.md).

`python -m benchmarks.corpus_choice [SPEC…]`: one small TopK SAE a candidate, same size, same tokens, same seed; each
judged on held-out text of every candidate and on the behaviours' prompts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.layer_choice import measured_behaviours
from tasks.corpora import Corpus, open_corpus
from tasks.corpora.tokens import Split, TokenBatch, token_batches
from tasks.dictionaries.faithfulness import measure_recovery
from tasks.dictionaries.quality import QualityMeter
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.hidden import stream_hidden
from tasks.model.language_model import LanguageModel
from tasks.model.sources import load_model
from tasks.training.plan import TrainingPlan
from tasks.training.run import batch_order
from tasks.training.trainer import LayerTrainer

CANDIDATES = ("offline:facts", "offline:python", "offline")
LAYER = 15
TRAIN_TOKENS = 40_000
HELD_OUT_TOKENS = 4_000
"""For FVU."""
SPLICED_TOKENS = 1_000
"""For CE and KL recovered: each costs six passes through the rest of the model."""
CONTEXT_LENGTH = 64
_EPOCHS = 3
_PLAN = TrainingPlan(
    objective="topk", n_features=2048, k=32, l1_coefficient=0.0, batch_size=1024, learning_rate=4e-3, seed=0,
    total_rows=TRAIN_TOKENS * _EPOCHS,
)  # fmt: skip


@dataclass(frozen=True)
class TestSet:
    """Text that no candidate's SAE was trained on."""

    name: str
    rows: Tensor
    """h at the trial's layer."""
    spliced: list[TokenBatch]
    """The part that CE and KL are measured on."""


def main() -> None:
    """Print one line for each candidate and test set."""
    model = load_model(EMBEDDED_SPEC)
    specs = sys.argv[1:] or list(CANDIDATES)
    tests = [_prompts(model), *(_held_out(model, spec) for spec in specs)]
    print(f"{'trained on':32} {'judged on':32} {'FVU h':>7} {'FVU out':>8} {'CE rec.':>8} {'KL rec.':>8}")
    for spec in specs:
        rows = _hidden(model, _text(model, open_corpus(spec), TRAIN_TOKENS, "train"))
        autoencoder = _train(rows)
        for test in tests:
            print(f"{spec:32} {test.name:32} {_figures(model, autoencoder, rows.mean(0), test)}", flush=True)


def _prompts(model: LanguageModel) -> TestSet:
    """The behaviours' clean prompts, each with the token it should give."""
    texts = [pair.clean + pair.decisive for behaviour in measured_behaviours() for pair in behaviour.pairs]
    corpus = Corpus("behaviours", lambda: iter(texts))
    batches = list(token_batches(model, corpus, CONTEXT_LENGTH, HELD_OUT_TOKENS, "train", 0, validation_share=0.0))
    return TestSet("behaviours", _hidden(model, iter(batches)), batches)


def _held_out(model: LanguageModel, spec: str) -> TestSet:
    corpus = open_corpus(spec)
    rows = _hidden(model, _text(model, corpus, HELD_OUT_TOKENS, "validation"))
    return TestSet(spec, rows, list(_text(model, corpus, SPLICED_TOKENS, "validation")))


def _text(model: LanguageModel, corpus: Corpus, n_tokens: int, split: Split) -> Iterator[TokenBatch]:
    return token_batches(model, corpus, CONTEXT_LENGTH, n_tokens, split, seed=0)


def _hidden(model: LanguageModel, batches: Iterator[TokenBatch]) -> Tensor:
    return torch.cat([rows.hidden[LAYER] for rows in stream_hidden(model, batches, [LAYER])])


def _train(rows: Tensor) -> SparseAutoencoder:
    trainer = LayerTrainer.start(LAYER, _PLAN, rows)
    for batch in batch_order(len(rows), _PLAN.batch_size, _EPOCHS, _PLAN.seed, 0):
        trainer.step(rows[batch])
    return trainer.autoencoder()


def _figures(model: LanguageModel, autoencoder: SparseAutoencoder, mean: Tensor, test: TestSet) -> str:
    meter = QualityMeter(autoencoder, model.layers[LAYER].down.weight.detach())
    meter.add(test.rows)
    quality = meter.quality()
    _, joint = measure_recovery(model, {LAYER: autoencoder}, {LAYER: mean}, test.spliced, lambda _done: None)
    ce, kl = joint.recovered("ce", "zero"), joint.recovered("kl", "zero")
    return f"{quality.fvu:7.3f} {quality.fvu_output:8.3f} {ce:8.3f} {kl:8.3f}"


if __name__ == "__main__":
    main()
