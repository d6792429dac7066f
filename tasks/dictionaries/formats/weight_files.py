"""What every foreign format has: a folder a layer with `cfg.json` and one safetensors file, checked before use."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from store.errors import BadInput, Damaged
from tasks.dictionaries.sae import SparseAutoencoder

CONFIG_FILE = "cfg.json"
MEND = "get the set again from where it came from"
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".npz", ".npy")
"""Endings of files that are no safetensors and mostly pickles."""
CONVERT = "convert it where you trust it: docs/dictionaries.md has the lines that write safetensors"
_ROWS_AT_ONCE = 4096
_DTYPES = ("BF16", "F16", "F32", "F64")


@dataclass(frozen=True)
class Shape:
    """The widths that a foreign SAE must have here, and whose they are."""

    d_mlp: int
    n_layers: int
    model: str


@dataclass(frozen=True)
class ForeignLayer:
    """One SAE of a foreign set, in this project's form."""

    folder: Path
    format: str
    autoencoder: SparseAutoencoder
    model_name: str | None
    """The model that it was trained on, as its config says."""
    architecture: str
    """What the format calls it, before it was folded."""

    @property
    def layer(self) -> int:
        """The layer whose h it reads."""
        return self.autoencoder.layer


def read_config(folder: Path) -> dict[str, Any]:
    """The `cfg.json` of a folder; `Damaged` if it is not one JSON object."""
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} is not readable JSON", MEND) from error
    if not isinstance(config, dict):
        raise Damaged(f"{path} is not a JSON object", MEND)
    return config


def read_tensors(path: Path, shapes: Mapping[str, Collection[int]]) -> dict[str, Tensor]:
    """The tensors of `shapes` in a file, in float32.

    `BadInput` for a tensor of another name, shape or type, which the format does not have; `Damaged` for a missing one,
    for NaN and infinity, and for a file that cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            held = set(file.keys())
            missing = sorted(shapes.keys() - held)
            if missing:
                raise Damaged(f"{path} has no {', '.join(missing)}", MEND)
            for name in sorted(held):
                _check_header(path, name, file.get_slice(name), shapes)
            tensors = {name: file.get_tensor(name).float() for name in sorted(held)}
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{path} is not a readable safetensors file", MEND) from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise Damaged(f"{name} in {path} holds NaN or infinity", MEND)
    return tensors


def _check_header(path: Path, name: str, header: Any, shapes: Mapping[str, Collection[int]]) -> None:
    if name not in shapes:
        raise BadInput(f"{path} holds {name}, which is not part of the format", "its meaning cannot be guessed")
    if header.get_dtype() not in _DTYPES:
        raise BadInput(f"{name} in {path} is {header.get_dtype()}", f"the supported types are {', '.join(_DTYPES)}")
    if header.get_shape() != list(shapes[name]):
        raise BadInput(f"{name} in {path} is {header.get_shape()} and must be {list(shapes[name])}", MEND)


def whole(config: Mapping[str, Any], name: str, where: Path) -> int:
    """A positive whole number of a config; `BadInput` names it."""
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInput(f"{name} in {where / CONFIG_FILE} is {value!r}", "it has to be a positive whole number")
    return value


def check_width(folder: Path, d_in: int, layer: int, shape: Shape) -> None:
    """Refuse an SAE that does not read this model's h."""
    if d_in != shape.d_mlp:
        raise BadInput(
            f"the SAE in {folder} reads {d_in} numbers and h of {shape.model} has {shape.d_mlp}",
            f"import SAEs that were trained on the MLP hidden (blocks.L.mlp.hook_post) of {shape.model}",
        )
    if layer >= shape.n_layers:
        raise BadInput(
            f"the SAE in {folder} is of layer {layer} and {shape.model} has {shape.n_layers} layers",
            f"import SAEs that were trained on {shape.model}",
        )


def product(encoder: Float[Tensor, "n_features m"], vector: Float[Tensor, " m"]) -> Float[Tensor, " n_features"]:
    """encoder @ vector in float64, a block of rows at a time, so that folding a bias costs no accuracy."""
    exact = vector.double()
    return torch.cat([block.double() @ exact for block in encoder.split(_ROWS_AT_ONCE)])


def stored(tensor: Tensor) -> Tensor:
    """The tensor in float32 on the CPU, laid out as it is stored."""
    return tensor.detach().to("cpu", torch.float32).contiguous()
