"""This project's trainer on the benchmark's rows, as a process of its own.

python -m benchmarks.train.ours --data … (see harness)
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.train.harness import LAYER, Run, finished, parsed, started
from tasks.dictionaries.formats.saelens import hook_name, write_saelens
from tasks.training.plan import TrainingPlan
from tasks.training.trainer import LayerTrainer


def main(run: Run) -> None:
    """Train once."""
    measured = started(run)
    plan = TrainingPlan(
        objective="topk",
        n_features=run.features,
        k=run.k,
        batch_size=run.batch,
        learning_rate=run.learning_rate,
        seed=run.seed,
        total_rows=run.steps * run.batch,
    )
    trainer = LayerTrainer.start(LAYER, plan, run.rows("train.f32", 0, 8 * run.batch))

    def reconstruct(x: Tensor) -> Tensor:
        sae = trainer.autoencoder()
        return sae.decode(sae.encode(x))

    for x in measured.batches(reconstruct):
        trainer.step(x)
    finished(measured, reconstruct)
    with torch.no_grad():
        write_saelens(trainer.autoencoder(), run.out / hook_name(LAYER), "SmolLM2-135M-Instruct")


if __name__ == "__main__":
    main(parsed())
