"""SAELens 6.54: its TopKTrainingSAE in its SAETrainer.

    python -m benchmarks.train.peers.saelens --data … (see harness)

The loop is its own `fit`; batches come from the harness. Weights are written by its `save_inference_model`.
"""

import torch
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from benchmarks.train.harness import Run, finished, mean_norm, parsed, started


def main(run: Run) -> None:
    """Train once."""
    torch.manual_seed(run.seed)
    measured = started(run)
    scale = 1.0 / mean_norm(run)
    config = TopKTrainingSAEConfig(
        d_in=run.width,
        d_sae=run.features,
        k=run.k,
        decoder_init_norm=1.0,
        metadata=SAEMetadata(hook_name="blocks.10.mlp.hook_post", model_name="SmolLM2-135M-Instruct"),
    )
    sae = TopKTrainingSAE(config)
    sae.b_dec.data = run.rows("train.f32", 0, 8 * run.batch).mean(0) * scale

    def reconstruct(x: Tensor) -> Tensor:
        found: Tensor = sae.decode(sae.encode(x * scale)) / scale
        return found

    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=run.steps * run.batch,
            train_batch_size_samples=run.batch,
            lr=run.learning_rate,
            lr_end=0.0,
            lr_warm_up_steps=max(1, run.steps // 20),
            lr_decay_steps=int(0.4 * run.steps),
            dead_feature_window=max(1, run.steps // 10),
            feature_sampling_window=run.steps,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae,
        (x * scale for x in measured.batches(reconstruct)),
    )
    trainer.fit()
    finished(measured, reconstruct)
    sae.fold_activation_norm_scaling_factor(scale)
    sae.save_inference_model(run.out / "blocks.10.mlp.hook_post")


if __name__ == "__main__":
    main(parsed())
