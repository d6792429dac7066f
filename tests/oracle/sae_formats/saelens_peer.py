"""Runs in SAELens' own environment; imports nothing of the workbench. `generate.py` calls it.

python saelens_peer.py write OUT       every architecture, with x, z and x̂ in OUT/NAME.oracle.safetensors
python saelens_peer.py read SETS OUT   what SAELens makes of SETS/NAME on x
python saelens_peer.py evaluate MODEL SAE TOKENS OUT
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from sae_lens import SAE
from sae_lens.evals import get_eval_everything_config, get_recons_loss, run_evals
from sae_lens.load_model import HookedProxyLM
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import (
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
)
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.activation_scaler import ActivationScaler
from safetensors.torch import load_file, save_file

D_IN, D_SAE = 48, 24
HOOK = "blocks.1.mlp.hook_post"
SCALE = 1.7


def configured(kind: Any, **options: Any) -> Any:
    metadata = SAEMetadata(model_name="tiny", hook_name=HOOK)
    return kind(d_in=D_IN, d_sae=D_SAE, metadata=metadata, **options)


def cases() -> Iterator[tuple[str, Any, float]]:
    """Name -> (SAE, the activations' scale)."""
    yield "standard", StandardSAE(configured(StandardSAEConfig)), 1.0
    yield "standard-uncentred", StandardSAE(configured(StandardSAEConfig, apply_b_dec_to_input=False)), 1.0
    yield "topk", TopKSAE(configured(TopKSAEConfig, k=5)), 1.0
    yield "topk-by-norm", TopKSAE(configured(TopKSAEConfig, k=5, rescale_acts_by_decoder_norm=True)), 1.0
    scaled = configured(TopKSAEConfig, k=5, normalize_activations="expected_average_only_in")
    yield "topk-scaled", TopKSAE(scaled), SCALE
    yield "jumprelu", JumpReLUSAE(configured(JumpReLUSAEConfig)), 1.0
    yield "gated", GatedSAE(configured(GatedSAEConfig)), 1.0
    yield "topk-trained", TopKTrainingSAE(configured(TopKTrainingSAEConfig, k=5)), 1.0
    yield "batchtopk-trained", BatchTopKTrainingSAE(configured(BatchTopKTrainingSAEConfig, k=5)), 1.0
    widths = {"k": 5, "matryoshka_widths": [8, 16]}
    yield (
        "matryoshka-trained",
        MatryoshkaBatchTopKTrainingSAE(configured(MatryoshkaBatchTopKTrainingSAEConfig, **widths)),
        1.0,
    )


@torch.no_grad()
def write(out: Path) -> None:
    x = torch.randn(16, D_IN, generator=torch.Generator().manual_seed(1))
    for seed, (name, sae, scale) in enumerate(cases()):
        generator = torch.Generator().manual_seed(seed)
        for parameter_name, parameter in sae.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            small = 0.3 if parameter.dim() == 1 else D_IN**-0.5
            parameter.copy_((noise * small).abs() if parameter_name == "threshold" else noise * small)
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(0.4)
        folder = out / name / HOOK
        if name.endswith("-trained"):
            sae.save_inference_model(folder)
        else:
            sae.save_model(folder)
        stored = SAE.load_from_disk(folder)
        if scale != 1.0:
            ActivationScaler(scaling_factor=scale).save(str(folder / "activation_scaler.json"))
        z = stored.encode(x * scale)
        save_file({"x": x, "z": z, "x_hat": stored.decode(z) / scale}, out / f"{name}.oracle.safetensors")


@torch.no_grad()
def read(sets: Path, out: Path) -> None:
    x = load_file(sets / "x.safetensors")["x"]
    answers: dict[str, torch.Tensor] = {}
    for config in sorted(sets.rglob("cfg.json")):
        sae = SAE.load_from_disk(config.parent)
        assert sae.cfg.metadata.hook_name == config.parent.name
        name = config.parent.relative_to(sets).parts[0]
        answers[f"{name}.z"] = sae.encode(x)
        answers[f"{name}.x_hat"] = sae.decode(answers[f"{name}.z"])
    save_file(answers, out)


@torch.no_grad()
def evaluate(model_directory: Path, sae_folder: Path, tokens_file: Path, out: Path) -> None:
    """SAELens' own evaluation. h is no module's output in a gated MLP, so an identity is put before down_proj."""
    from transformers import AutoModelForCausalLM

    stored = load_file(tokens_file)
    tokens, special = stored["tokens"], int(stored["special"])
    hf = AutoModelForCausalLM.from_pretrained(model_directory).eval()
    mlp = hf.model.layers[1].mlp
    mlp.down_proj = torch.nn.Sequential(torch.nn.Identity(), mlp.down_proj)
    model = HookedProxyLM(hf, SimpleNamespace())
    sae = SAE.load_from_disk(sae_folder)
    sae.cfg.metadata.hook_name = "model.layers.1.mlp.down_proj.0"
    store = SimpleNamespace(
        get_batch_tokens=lambda _n: tokens,
        reset_input_dataset=lambda: None,
        store_batch_size_prompts=len(tokens),
        context_size=tokens.shape[1],
    )
    config = get_eval_everything_config(n_eval_reconstruction_batches=1)
    metrics, features = run_evals(
        sae, store, model, ActivationScaler(), config, exclude_special_tokens=[special], verbose=False
    )
    kl = get_recons_loss(sae, model, ActivationScaler(), tokens, True, False, [special])["kl_div_with_sae"]
    metrics["kl_between_second_and_last"] = kl[:, 1:-1].double().mean().item()
    metrics["feature_density"] = features["feature_density"]
    out.write_text(json.dumps(metrics, indent=1) + "\n")


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(Path, sys.argv[2:]))
