"""What both sides of the attribution benchmark read: the embedded model, a prompt, and a made transcoder set.

The set is seeded: 30 layers of ReLU transcoders whose bias lets the same few of their features be active at every
position. It stands in the cache, not in the repository (283 MB at 2 048 features).
"""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from tasks.circuits.frozen import FrozenLayer, freeze
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.language_model import LanguageModel
from tasks.model.sources import load_model

CACHE = Path.home() / ".cache" / "workbench" / "peers"
PROMPT = "The official language of the country whose capital is Paris is"
"""Eleven tokens, and the special one that both sides put first."""
N_FEATURES = 2048
ACTIVE_PER_POSITION = 17.6
"""Mean over layers and positions: about 5 800 in all over 30 layers and 11 positions."""


def embedded_model() -> tuple[LanguageModel, Path]:
    """SmolLM2-135M and the directory of its weights."""
    model = load_model(EMBEDDED_SPEC, "cpu")
    return model, next(path for path in CACHE.with_name("builtin").glob("smollm2-135m-*") if path.is_dir())


def transcoder_directory(
    model: LanguageModel, n_features: int = N_FEATURES, active: float = ACTIVE_PER_POSITION
) -> Path:
    """The set of that many features, with `active` of them active at a position; made on first need."""
    directory = CACHE / f"made-relu-{n_features}-{active:g}"
    if (directory / "config.yaml").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    run = freeze(model, model.tokenize(PROMPT, special_start=True))
    generator = torch.Generator().manual_seed(0)
    for index, layer in enumerate(run.layers):
        save_file(_weights(layer, n_features, active, generator), directory / f"layer_{index}.safetensors")
    config = {
        "model_name": "smollm2-135m", "model_kind": "transcoder_set", "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "mlp.hook_out", "scan": "made", "activation": "relu",
    }  # fmt: skip
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    return directory


def _weights(layer: FrozenLayer, n_features: int, active: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Random directions; the bias puts `active` of them a position above zero, the decoder writes at the MLP's size."""
    u, written = layer.mlp_input[1:], layer.mlp_output[1:]
    d = u.shape[1]
    encoder = torch.randn(n_features, d, generator=generator) * d**-0.5
    pre = u @ encoder.T
    n_active = round(active * len(u))
    threshold = pre.flatten().topk(n_active + 1).values[-2:].mean()
    z = (pre - threshold).relu()
    decoder = torch.randn(n_features, d, generator=generator) * d**-0.5
    size = written.norm(dim=1).mean() / (z @ decoder).norm(dim=1).mean()
    return {
        "W_enc": encoder,
        "b_enc": torch.full((n_features,), -float(threshold)),
        "W_dec": decoder * size,
        "b_dec": written.mean(0).clone(),
    }
