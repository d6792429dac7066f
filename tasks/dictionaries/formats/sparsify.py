"""sparsify's format: `HOOKPOINT/cfg.json` and `HOOKPOINT/sae.safetensors`, read and written (checked against 1.3.3).

TopK alone; the encoder reads h − b_dec. A folder is named for a module, `layers.L.mlp`, and does not say which side of
it the SAE reads: the width does, and the name of the hook where this project wrote the file.
"""

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from store.errors import BadInput
from tasks.dictionaries.formats.saelens import hook_name
from tasks.dictionaries.formats.weight_files import (
    CONFIG_FILE,
    ForeignLayer,
    Shape,
    check_width,
    product,
    read_config,
    read_tensors,
    stored,
    whole,
)
from tasks.dictionaries.sae import SparseAutoencoder

WEIGHTS_FILE = "sae.safetensors"
_FOLDER = re.compile(r"(?:.*\.)?layers\.(\d+)\.mlp(?:\.down_proj)?")


def folder_name(layer: int) -> str:
    """What the folder of a layer's SAE is called."""
    return f"layers.{layer}.mlp"


def read_sparsify(folder: Path, shape: Shape) -> ForeignLayer:
    """The SAE in a sparsify folder, its b_dec folded into the encoder's bias: same z, same ĥ.

    `BadInput` for a transcoder, another hook, width or activation, `Damaged` for files that cannot be read.
    """
    config = read_config(folder)
    layer = _layer(folder, config)
    _refuse_other_kinds(folder, config)
    d_in = whole(config, "d_in", folder)
    check_width(folder, d_in, layer, shape)
    latents = whole(config, "num_latents", folder) if config.get("num_latents") else 0
    n_features = latents or d_in * whole(config, "expansion_factor", folder)
    shapes = {
        "encoder.weight": (n_features, d_in),
        "encoder.bias": (n_features,),
        "W_dec": (n_features, d_in),
        "b_dec": (d_in,),
    }
    tensors = read_tensors(folder / WEIGHTS_FILE, shapes)
    k = whole(config, "k", folder)
    if k > n_features:
        raise BadInput(f"the SAE in {folder} keeps the {k} largest of {n_features} features", "mend its cfg.json")
    encoder = tensors["encoder.weight"]
    autoencoder = SparseAutoencoder(
        layer=layer,
        W_enc=stored(encoder),
        b_enc=stored(tensors["encoder.bias"] - product(encoder, tensors["b_dec"])),
        W_dec=stored(tensors["W_dec"]),
        b_dec=stored(tensors["b_dec"]),
        k=k,
        n_features=n_features,
    )
    return ForeignLayer(folder, "sparsify", autoencoder, config.get("model_name"), "topk")


def write_sparsify(autoencoder: SparseAutoencoder, folder: Path, model_name: str) -> None:
    """Write a folder that sparsify loads with `SparseCoder.load_from_disk`; `BadInput` for what is not TopK.

    The same z up to the rounding of one bias: b_dec is given back to the input that the encoder reads.
    """
    if autoencoder.k is None:
        raise BadInput(
            f"the SAE of layer {autoencoder.layer} is not TopK, and sparsify has nothing else",
            "export it with --format saelens",
        )
    tensors = {
        "encoder.weight": stored(autoencoder.W_enc),
        "encoder.bias": stored(autoencoder.b_enc + product(autoencoder.W_enc.detach(), autoencoder.b_dec.detach())),
        "W_dec": stored(autoencoder.W_dec),
        "b_dec": stored(autoencoder.b_dec),
    }
    config: dict[str, Any] = {
        "activation": "topk",
        "expansion_factor": 32,
        "normalize_decoder": False,
        "num_latents": autoencoder.n_features,
        "k": autoencoder.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": len(autoencoder.b_dec),
        "hook_name": hook_name(autoencoder.layer),
        "model_name": model_name,
    }
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _layer(folder: Path, config: dict[str, Any]) -> int:
    """The layer that the folder's name gives (or the folder around `seedN`); what is not of an MLP is refused."""
    names = [folder.name, folder.parent.name] if re.fullmatch(r"seed\d+", folder.name) else [folder.name]
    matched = _FOLDER.fullmatch(names[-1])
    if matched is None:
        raise BadInput(
            f"the SAE in {folder} is of {names[-1]}, and this workbench's SAEs are of layers.L.mlp (its hidden h)",
            "import SAEs of the MLP hidden",
        )
    layer = int(matched[1])
    told = config.get("hook_name")
    if told is not None and told != hook_name(layer):
        raise BadInput(f"the SAE in {folder} says that it is of {told}", f"name its folder for {told}")
    return layer


def _refuse_other_kinds(folder: Path, config: dict[str, Any]) -> None:
    if config.get("transcode") or config.get("skip_connection"):
        raise BadInput(
            f"{folder} holds a transcoder", "only transcoders in circuit-tracer's format are read: transcoder:PLACE"
        )
    activation = config.get("activation", "topk")
    if activation != "topk":
        raise BadInput(f"the SAE in {folder} has the activation {activation!r}", "only topk is read")
