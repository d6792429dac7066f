"""dictionary_learning 0.1.0: its AutoEncoderTopK in its TopKTrainer.

    python -m benchmarks.train.peers.dictionary_learning --data … (see harness)

Its library stores pickles alone, so the weights are written as sparsify's format has them: the same convention.
"""

import json

import torch
from dictionary_learning.trainers.top_k import TopKTrainer
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.train.harness import Run, finished, mean_norm, parsed, started


def main(run: Run) -> None:
    """Train once."""
    measured = started(run)
    scale = 1.0 / mean_norm(run)
    trainer = TopKTrainer(
        steps=run.steps,
        activation_dim=run.width,
        dict_size=run.features,
        k=run.k,
        layer=10,
        lm_name="SmolLM2-135M-Instruct",
        lr=run.learning_rate,
        warmup_steps=max(1, run.steps // 20),
        decay_start=int(0.6 * run.steps),
        seed=run.seed,
        device="cpu",
    )
    trainer.dead_feature_threshold = run.steps * run.batch // 10

    def reconstruct(x: Tensor) -> Tensor:
        found: Tensor = trainer.ae(x * scale) / scale
        return found

    for step, x in enumerate(measured.batches(reconstruct)):
        trainer.update(step, x * scale)
    finished(measured, reconstruct)
    folder = run.out / "layers.10.mlp"
    folder.mkdir(parents=True)
    with torch.no_grad():
        ae = trainer.ae
        tensors = {
            "encoder.weight": ae.encoder.weight * scale,
            "encoder.bias": ae.encoder.bias,
            "W_dec": ae.decoder.weight.T / scale,
            "b_dec": ae.b_dec / scale,
        }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "sae.safetensors")
    config = {"d_in": run.width, "num_latents": run.features, "k": run.k, "activation": "topk"}
    (folder / "cfg.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main(parsed())
