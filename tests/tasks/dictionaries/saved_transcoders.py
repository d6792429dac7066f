"""Transcoder sets on disk, and the same numbers as plain float64 matrices."""

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

THRESHOLD = "activation_function.threshold"
CONFIG: dict[str, Any] = {
    "model_name": "org/tiny",
    "model_kind": "transcoder_set",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "mlp.hook_out",
    "scan": "tiny",
}
Weights = dict[str, Tensor]


def draw_weights(
    d: int = 32, n_features: int = 40, seed: int = 0, *, skip: bool = False, threshold: bool = False
) -> Weights:
    """The tensors of one layer, float32, seeded."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float) -> Tensor:
        return torch.randn(*shape, generator=generator) * scale

    weights = {
        "W_enc": draw(n_features, d, scale=d**-0.5),
        "W_dec": draw(n_features, d, scale=n_features**-0.5),
        "b_enc": draw(n_features, scale=0.2),
        "b_dec": draw(d, scale=0.2),
    }
    if skip:
        weights["W_skip"] = draw(d, d, scale=0.5 * d**-0.5)
    if threshold:
        weights[THRESHOLD] = draw(n_features, scale=0.5).abs() + 0.1
    return weights


def save_config(directory: Path, name: str = "config.yaml", **changes: Any) -> Path:
    """A config with these entries changed; None removes one."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    entries = {key: value for key, value in (CONFIG | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(entries))
    return path


def save_set(directory: Path, n_layers: int = 3, d: int = 32, **changes: Any) -> Path:
    """A whole ReLU set, with these entries of its config changed."""
    save_config(directory, **changes)
    for layer in range(n_layers):
        save_file(draw_weights(d, seed=layer), directory / f"layer_{layer}.safetensors")
    return directory
