"""sparsify 1.3.3: its SparseCoder in its Trainer.

    python -m benchmarks.train.peers.sparsify --data … (see harness)

The loop is its own `fit`, which wants a model to hook: here the model hands out the rows that are asked for.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from sparsify import SparseCoderConfig, TrainConfig, Trainer
from torch import Tensor, nn

from benchmarks.train.harness import Measured, Run, finished, mean_norm, parsed, started

HOOK = "rows"


class Batches:
    """As many items as there are steps; an item is a window of `batch` tokens, whose ids mean nothing."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __len__(self) -> int:
        return self._run.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        if step >= self._run.steps:
            raise IndexError
        return {"input_ids": torch.zeros(self._run.batch, dtype=torch.long)}


class Rows(nn.Module):
    """A model whose one module puts out the next batch of h."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rows = nn.Identity()
        self.device = torch.device("cpu")
        self.dummy_inputs: dict[str, Any] = {"input_ids": torch.zeros(1, 1, dtype=torch.long)}
        self.next_batch: Callable[[], Tensor] = lambda: torch.zeros(1, width)

    @property
    def base_model(self) -> nn.Module:
        """As transformers' models have it."""
        return self

    def forward(self, input_ids: Tensor) -> Tensor:
        """The next batch, as one window."""
        found: Tensor = self.rows(self.next_batch()[None])
        return found


def main(run: Run) -> None:
    """Train once."""
    torch.manual_seed(run.seed)
    measured: Measured = started(run)
    scale = 1.0 / mean_norm(run)
    model = Rows(run.width)
    with tempfile.TemporaryDirectory() as directory:
        config = TrainConfig(
            SparseCoderConfig(num_latents=run.features, k=run.k),
            batch_size=1,
            optimizer="adam",
            lr=run.learning_rate,
            lr_warmup_steps=max(1, run.steps // 20),
            auxk_alpha=1 / 32,
            dead_feature_threshold=run.steps * run.batch // 10,
            hookpoints=[HOOK],
            save_every=10 * run.steps,
            log_to_wandb=False,
            save_dir=directory,
            init_seeds=[run.seed],
        )
        trainer = Trainer(config, Batches(run), model)
        sae = trainer.saes[HOOK]

        def reconstruct(x: Tensor) -> Tensor:
            values, features, _ = sae.encode(x * scale)
            found: Tensor = sae.decode(values, features) / scale
            return found

        batches = measured.batches(reconstruct)
        model.next_batch = lambda: next(batches) * scale
        trainer.fit()
        finished(measured, reconstruct)
    with torch.no_grad():
        sae.encoder.weight *= scale
        sae.W_dec /= scale
        sae.b_dec /= scale
    sae.save_to_disk(run.out / "layers.10.mlp")


if __name__ == "__main__":
    main(parsed())
