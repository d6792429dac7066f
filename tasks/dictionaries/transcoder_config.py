"""config.yaml of a transcoder set, as circuit-tracer 0.5.0 writes and reads it: what it says, and what is refused."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from store.errors import BadInput
from tasks.model.language_model import LanguageModel

_LARGEST_CONFIG = 1 << 20
_NO_SET = "name a per-layer transcoder set in circuit-tracer's format"
_READS = ("mlp.hook_in",)
_WRITES = ("mlp.hook_out", "hook_mlp_out")


class Activation(StrEnum):
    """The nonlinearity of a set."""

    RELU = "relu"
    TOPK = "topk"
    JUMPRELU = "jumprelu"


@dataclass(frozen=True)
class SetConfig:
    """What config.yaml says of a set that can be used."""

    model_name: str | None
    """The model it was trained on."""
    activation: Activation | None
    """None: JumpReLU in layers whose file has a threshold, else ReLU (circuit-tracer's rule)."""
    k: int | None
    """For TopK."""
    listed: tuple[str, ...] | None
    """`transcoders:`, a place for each layer; None: layer_0.safetensors and so on, beside the config."""


def read_config(path: Path, where: str, model: LanguageModel) -> SetConfig:
    """The config at `path`, named `where` to the person. `BadInput` if it is none, or not for what is here."""
    document = _document(path, where)
    kind = document.get("model_kind")
    if kind != "transcoder_set":
        raise BadInput(f"{where} describes a {kind}, not a transcoder_set", f"{_NO_SET}; no other kind is supported")
    _check_hooks(document, where, model)
    activation, k = _activation(document, where)
    name = document.get("model_name")
    return SetConfig(None if name is None else str(name), activation, k, _listed(document, where))


def _document(path: Path, where: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise BadInput(f"{where} is too large for a config", _NO_SET)
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror})", _NO_SET) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadInput(f"{where} is not readable YAML", "mend it, or get it again") from error
    if not isinstance(document, dict):
        raise BadInput(f"{where} holds no settings", _NO_SET)
    return document


def _check_hooks(document: dict[str, Any], where: str, model: LanguageModel) -> None:
    reads, writes = document.get("feature_input_hook"), document.get("feature_output_hook")
    if reads not in _READS:
        raise BadInput(
            f"{where} reads at {reads}",
            f"only sets that read at {_READS[0]}, the MLP's normed input, are supported",
        )
    if writes not in _WRITES:
        raise BadInput(f"{where} writes at {writes}", f"only sets that write at {' or '.join(_WRITES)} are supported")
    if writes == "hook_mlp_out" and model.architecture.mlp_output_norm is not None:
        raise BadInput(
            f"{where} writes at hook_mlp_out, which in {model.architecture.model_type} comes after a second norm",
            "only sets that write at mlp.hook_out, before that norm, are supported for this family",
        )


def _activation(document: dict[str, Any], where: str) -> tuple[Activation | None, int | None]:
    word, k = document.get("activation"), document.get("k")
    known = ", ".join(Activation)
    if word is not None and word not in tuple(Activation):
        raise BadInput(f"{where} names the activation {word!r}", f"the supported ones are {known}")
    activation = None if word is None else Activation(word)
    if activation is not Activation.TOPK:
        if k is not None:
            raise BadInput(f"{where} has a k and no activation: topk", "write the activation, or leave out the k")
        return activation, None
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise BadInput(f"{where} names the activation topk and its k is {k}", "write how many features fire, as k: 32")
    return activation, k


def _listed(document: dict[str, Any], where: str) -> tuple[str, ...] | None:
    listed = document.get("transcoders")
    if listed is None:
        return None
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str) and each for each in listed):
        raise BadInput(f"transcoders: in {where} is no list of files", "list one path or hf:// address a layer")
    return tuple(listed)
