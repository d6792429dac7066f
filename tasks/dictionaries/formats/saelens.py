"""SAELens' format: `HOOK/cfg.json` and `HOOK/sae_weights.safetensors`, read and written (checked against 6.54).

W_enc is [d_in, d_sae] there, b_dec may be subtracted from the input, TopK may rank by decoder norm, and BatchTopK and
Matryoshka SAEs are stored as JumpReLU. All of that folds into this project's form without changing z or ĥ; what depends
on each token's own norm does not, and is refused by name.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from store.errors import BadInput, Damaged
from tasks.dictionaries.formats.weight_files import (
    CONFIG_FILE,
    MEND,
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

WEIGHTS_FILE = "sae_weights.safetensors"
VERSION = "6.54.0"
"""The SAELens whose loader reads what is written here."""
_SCALER_FILE = "activation_scaler.json"
_HOOK = re.compile(r"blocks\.(\d+)\.mlp\.hook_post")
_ARCHITECTURES = ("standard", "topk", "jumprelu", "gated")
_UNFINISHED = ("batchtopk", "matryoshka_batchtopk")
_SCALED = "expected_average_only_in"


def hook_name(layer: int) -> str:
    """TransformerLens' name of h in a layer; SAELens' folders are called so."""
    return f"blocks.{layer}.mlp.hook_post"


def read_saelens(folder: Path, shape: Shape) -> ForeignLayer:
    """The SAE in a SAELens folder, folded into this project's form: same z, same ĥ.

    `BadInput` for an SAE of another hook, width or kind, `Damaged` for files that cannot be read.
    """
    config = _current(read_config(folder))
    layer = _layer(folder, config)
    d_in, d_sae = whole(config, "d_in", folder), whole(config, "d_sae", folder)
    check_width(folder, d_in, layer, shape)
    architecture = _architecture(folder, config)
    _refuse_unfoldable(folder, config)
    tensors = read_tensors(folder / WEIGHTS_FILE, _shapes(architecture, d_in, d_sae))
    k, threshold = None, None
    if architecture == "topk":
        k = whole(config, "k", folder)
        if k > d_sae:
            raise BadInput(f"the SAE in {folder} keeps the {k} largest of {d_sae} features", "mend its cfg.json")
        if config.get("rescale_acts_by_decoder_norm"):
            _rank_by_decoder_norm(tensors)
    elif architecture == "gated":
        threshold = _gates_as_threshold(tensors)
    elif architecture == "jumprelu":
        threshold = tensors["threshold"].clamp_min(0.0)
    weights = _folded(tensors, _scale(folder, config), bool(config.get("apply_b_dec_to_input", True)))
    autoencoder = SparseAutoencoder(
        layer=layer,
        W_enc=weights["W_enc"],
        b_enc=weights["b_enc"],
        W_dec=weights["W_dec"],
        b_dec=weights["b_dec"],
        k=k,
        n_features=d_sae,
        threshold=None if threshold is None else stored(threshold),
    )
    return ForeignLayer(folder, "saelens", autoencoder, config["metadata"].get("model_name"), architecture)


def write_saelens(autoencoder: SparseAutoencoder, folder: Path, model_name: str) -> None:
    """Write a folder that SAELens loads with `SAE.load_from_disk`, with the same z bit for bit."""
    tensors = {
        "W_enc": stored(autoencoder.W_enc.T),
        "b_enc": stored(autoencoder.b_enc),
        "W_dec": stored(autoencoder.W_dec),
        "b_dec": stored(autoencoder.b_dec),
    }
    config: dict[str, Any] = {
        "architecture": "standard",
        "d_in": len(autoencoder.b_dec),
        "d_sae": autoencoder.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": VERSION,
            "model_name": model_name,
            "hook_name": hook_name(autoencoder.layer),
            "prepend_bos": False,
        },
    }
    if autoencoder.k is not None:
        config |= {"architecture": "topk", "k": autoencoder.k, "rescale_acts_by_decoder_norm": False}
    elif autoencoder.threshold is not None:
        config["architecture"] = "jumprelu"
        tensors["threshold"] = stored(autoencoder.threshold)
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _current(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the names of SAELens 6, whichever version wrote it: before, metadata stood beside the rest."""
    metadata = config.get("metadata")
    if isinstance(metadata, dict):
        return dict(config)
    older = dict(config)
    older["metadata"] = {
        "hook_name": config.get("hook_name", config.get("hook_point")),
        "model_name": config.get("model_name"),
    }
    activation = config.get("activation_fn_str", config.get("activation_fn", "relu"))
    if activation == "topk":
        older |= {"architecture": "topk", "k": (config.get("activation_fn_kwargs") or {}).get("k")}
    if config.get("normalize_activations") is True:
        older["normalize_activations"] = _SCALED
    return older


def _layer(folder: Path, config: Mapping[str, Any]) -> int:
    """The layer that the hook's name gives; a hook that is not h is refused by name."""
    named = config["metadata"].get("hook_name") or folder.name
    matched = _HOOK.fullmatch(str(named))
    if matched is None:
        raise BadInput(
            f"the SAE in {folder} is of {named}, and this workbench's SAEs are of blocks.L.mlp.hook_post",
            "import SAEs of the MLP hidden; sets of transcoders are named transcoder:PLACE, without an import",
        )
    return int(matched[1])


def _architecture(folder: Path, config: Mapping[str, Any]) -> str:
    architecture = str(config.get("architecture", "standard"))
    if architecture in _UNFINISHED:
        raise BadInput(
            f"{folder} is a training checkpoint ({architecture})", "write it with SAELens' save_inference_model"
        )
    if architecture not in _ARCHITECTURES:
        raise BadInput(
            f"the SAE in {folder} is {architecture!r}", f"the supported ones are {', '.join(_ARCHITECTURES)}"
        )
    return architecture


def _refuse_unfoldable(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse what makes an SAE depend on more than a fixed linear map and a threshold."""
    normalised = config.get("normalize_activations") or "none"
    if normalised not in ("none", _SCALED):
        raise BadInput(
            f"the SAE in {folder} normalises its input by {normalised!r}, which no fixed weights can stand for",
            "import one that was trained with normalize_activations none or expected_average_only_in",
        )
    if config.get("reshape_activations", "none") != "none":
        raise BadInput(f"the SAE in {folder} reshapes its input ({config['reshape_activations']})", "it is not of h")
    if config.get("finetuning_scaling_factor"):
        raise BadInput(f"the SAE in {folder} has a finetuning_scaling_factor", "fold it into W_dec first")


def _shapes(architecture: str, d_in: int, d_sae: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    biases = {"gated": ("b_gate", "b_mag", "r_mag"), "jumprelu": ("b_enc", "threshold")}
    return shapes | dict.fromkeys(biases.get(architecture, ("b_enc",)), (d_sae,))


def _rank_by_decoder_norm(tensors: dict[str, Tensor]) -> None:
    """z = TopK(pre · ‖w_dec‖), ĥ = z / ‖w_dec‖ · W_dec: the norms go into the encoder, the decoder becomes unit."""
    norm = tensors["W_dec"].norm(dim=1)
    tensors["W_enc"] = tensors["W_enc"] * norm
    tensors["b_enc"] = tensors["b_enc"] * norm
    tensors["W_dec"] = tensors["W_dec"] / norm[:, None]


def _gates_as_threshold(tensors: dict[str, Tensor]) -> Tensor:
    """A gated SAE is a JumpReLU: the gate and the magnitude are the same direction, e^r apart (Rajamanoharan 2024, §3).

    With p = e^r·(x·w) + b_mag, the gate x·w + b_gate > 0 says p > b_mag − e^r·b_gate.
    """
    grown = tensors.pop("r_mag").exp()
    magnitude, gate = tensors.pop("b_mag"), tensors.pop("b_gate")
    tensors["W_enc"] = tensors["W_enc"] * grown
    tensors["b_enc"] = magnitude
    return (magnitude - grown * gate).clamp_min(0.0)


def _scale(folder: Path, config: Mapping[str, Any]) -> float:
    """By what the input is multiplied first: SAELens folds it at the end of training, a checkpoint has it beside it."""
    if config.get("normalize_activations") != _SCALED:
        return 1.0
    path = folder / _SCALER_FILE
    if not path.exists():
        raise BadInput(
            f"the SAE in {folder} expects scaled activations ({_SCALED}) and there is no {_SCALER_FILE}",
            "fold the scale with SAELens' fold_activation_norm_scaling_factor, or put the file there",
        )
    try:
        scale = float(json.loads(path.read_text(encoding="utf-8"))["scaling_factor"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} gives no scaling_factor", MEND) from error
    if not 0.0 < scale < float("inf"):
        raise Damaged(f"the scaling_factor in {path} is {scale}", MEND)
    return scale


def _folded(tensors: Mapping[str, Tensor], scale: float, centred: bool) -> dict[str, Tensor]:
    """Weights that read and write raw h, W_enc [d_sae, d_in]; `centred` takes b_dec from the input first."""
    encoder, bias = tensors["W_enc"].T, tensors["b_enc"]
    if centred:
        bias = bias - product(encoder, tensors["b_dec"])
    return {
        "W_enc": stored(encoder * scale),
        "b_enc": stored(bias),
        "W_dec": stored(tensors["W_dec"] / scale),
        "b_dec": stored(tensors["b_dec"] / scale),
    }
