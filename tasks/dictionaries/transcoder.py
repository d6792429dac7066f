"""Transcoders: features that read the MLP's normed input u and write its output, in circuit-tracer's directory format.

Published sets are large (163 840 features a layer for Qwen3-4B), so weights stay mapped from disk: encoding streams
W_enc through the model's device in blocks of rows, and of W_dec only the rows of active features are ever read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from store.errors import BadInput, Damaged
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Site
from tasks.model.language_model import LanguageModel

BLOCK_ROWS = 16_384
"""Rows of W_enc on the device at once."""
PREFIX = "transcoder:"
"""How a set is named on the command line: transcoder:DIRECTORY."""
_MEND = "get the set again from where it was published"


@dataclass(frozen=True)
class Transcoder:
    """z = activation(u W_encᵀ + b_enc), output = z W_dec + b_dec (+ u W_skipᵀ)."""

    layer: int
    W_enc: Float[Tensor, "n_features d"]
    W_dec: Float[Tensor, "n_features d"]
    b_enc: Float[Tensor, " n_features"]
    b_dec: Float[Tensor, " d"]
    skip: Float[Tensor, "d d"] | None
    k: int | None
    """TopK, where the set says so."""
    threshold: Float[Tensor, " n_features"] | None
    """JumpReLU, where the file has one; ReLU otherwise."""
    device: torch.device
    reads: Site = Site.MLP_INPUT
    writes: Site = Site.MLP_OUTPUT

    @property
    def n_features(self) -> int:
        """Rows of W_enc."""
        return int(self.W_enc.shape[0])

    def pre_activation(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        """u W_encᵀ + b_enc, a block of features at a time."""
        blocks = zip(self.W_enc.split(BLOCK_ROWS), self.b_enc.split(BLOCK_ROWS), strict=True)
        x = x.float()
        parts = [x @ self._here(weight).T + self._here(bias) for weight, bias in blocks]
        return torch.cat(parts, dim=-1)

    def encode(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        """The features z. Differentiable on the active set."""
        pre = self.pre_activation(x)
        if self.k is not None:
            largest, chosen = pre.topk(self.k, dim=-1)
            return torch.zeros_like(pre).scatter(-1, chosen, largest.relu())
        if self.threshold is not None:
            return pre * (pre > self._here(self.threshold))
        return pre.relu()

    def decode(self, z: Float[Tensor, "*batch n_features"]) -> Float[Tensor, "*batch d"]:
        """z W_dec + b_dec, reading the rows of active features alone."""
        active = z.detach().flatten(0, -2).any(0).nonzero().squeeze(1)
        return z[..., active] @ self.write_vectors(active) + self.write_bias

    def read_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Rows of W_enc."""
        return self._here(self.W_enc[features.cpu()])

    def read_bias(self, features: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Entries of b_enc."""
        return self._here(self.b_enc[features.cpu()])

    def write_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Rows of W_dec."""
        return self._here(self.W_dec[features.cpu()])

    def writes_through(
        self, features: Int[Tensor, " n"], projection: Float[Tensor, "d_out d"]
    ) -> Float[Tensor, "n d_out"]:
        """W_dec[features] @ projectionᵀ."""
        return self.write_vectors(features) @ projection.T

    @property
    def write_bias(self) -> Float[Tensor, " d"]:
        """b_dec."""
        return self._here(self.b_dec)

    def threshold_margin(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        """How far each pre-activation is above the point where its feature switches off, the others held."""
        pre = self.pre_activation(x)
        if self.threshold is not None:
            return pre - self._here(self.threshold)
        if self.k is None or self.k >= self.n_features:
            return pre
        ranked = pre.topk(self.k + 1, dim=-1).values.clamp_min(0.0)
        active = (pre >= ranked[..., -2:-1]) & (pre > 0)
        return pre - torch.where(active, ranked[..., -1:], ranked[..., -2:-1])

    def _here(self, weights: Tensor) -> Tensor:
        """On the model's device, float32."""
        return weights.to(self.device, torch.float32)


def load_transcoder_set(directory: Path, model: LanguageModel) -> DictionarySet:
    """A per-layer set in circuit-tracer's format: `config.yaml` and `layer_<i>.safetensors` beside it.

    Raises `BadInput` for a directory that is no such set or does not fit the model, `Damaged` for unreadable files.
    """
    config = _config(directory)
    paths = [directory / f"layer_{layer}.safetensors" for layer in range(model.n_layers)]
    there = {layer: path for layer, path in enumerate(paths) if path.is_file()}
    if not there:
        raise BadInput(f"{directory} holds no layer_0.safetensors", "name a directory with a per-layer transcoder set")
    k = int(config["k"]) if config.get("activation") == "topk" else None
    layers = {layer: _load(path, layer, model, k, config.get("activation")) for layer, path in there.items()}
    return DictionarySet(f"{PREFIX}{directory}", layers)


def _config(directory: Path) -> dict[str, Any]:
    path = directory / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{path} cannot be read", "name a directory with a per-layer transcoder set") from error
    if not isinstance(config, dict) or config.get("model_kind") != "transcoder_set":
        raise BadInput(f"{path} does not describe a transcoder_set", "cross-layer transcoders are not supported")
    hooks = (config.get("feature_input_hook"), config.get("feature_output_hook"))
    if hooks != ("mlp.hook_in", "mlp.hook_out"):
        raise BadInput(
            f"{path} reads {hooks[0]} and writes {hooks[1]}", "only mlp.hook_in -> mlp.hook_out is supported"
        )
    return config


def _load(path: Path, layer: int, model: LanguageModel, k: int | None, activation: str | None) -> Transcoder:
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{path} is not a readable safetensors file", _MEND) from error
    missing = {"W_enc", "W_dec", "b_enc", "b_dec"} - weights.keys()
    if missing:
        raise Damaged(f"{path} has no {', '.join(sorted(missing))}", _MEND)
    n_features, d_model = weights["W_enc"].shape[0], model.d_model
    shapes = {
        "W_enc": (n_features, d_model),
        "W_dec": (n_features, d_model),
        "b_enc": (n_features,),
        "b_dec": (d_model,),
    }
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise BadInput(
                f"{name} in {path} is {tuple(weights[name].shape)} and the model needs {shape}",
                f"use a set that was trained on {model.spec}",
            )
    skip = weights.get("W_skip")
    return Transcoder(
        layer=layer,
        **{name: weights[name] for name in shapes},
        skip=None if skip is None else skip.to(model.device, torch.float32),
        k=k,
        threshold=weights.get("activation_function.threshold") if activation is None else None,
        device=model.device,
    )
