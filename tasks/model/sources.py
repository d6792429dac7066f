"""Where a model comes from: the embedded default, a directory, a GGUF file, the hub; and the revision that pins it.

Weights are read from safetensors alone, never from a pickle, and no code that lies beside them is run (SAFETY).
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils.hub import cached_file

from store.errors import BadInput, Damaged, Missing
from store.project import ModelRecord, Project
from tasks.model.architecture import architecture_of
from tasks.model.cache import directory_hash
from tasks.model.embedded import EMBEDDED_SPEC, GGUF_SHA256, embedded_directory
from tasks.model.gguf import converted_gguf, quiet_loading
from tasks.model.language_model import LanguageModel

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The types that weights can be loaded in."""
_BUILTIN = "builtin:"
_PINNED = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_GENERIC_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class Source:
    """What transformers is asked for, once the person's spec is understood."""

    spec: str
    """The spec as a project keeps it: local paths are absolute."""
    location: str
    """A directory, or a hub id."""
    revision: str
    """SHA-256 of the embedded GGUF, xxh3-128 of local weights, or the hub's commit."""
    local: bool


def load_model(
    spec: str,
    device: str = "auto",
    dtype: str = "float32",
    revision: str | None = None,
    narrate: Callable[[str], None] = lambda _text: None,
) -> LanguageModel:
    """The model that `spec` names: `builtin:…`, a directory, a `*.gguf` file, or a hub id `org/name`.

    `device` is `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `dtype` one of `DTYPES`; `revision` what the weights must be
    (a branch, tag or commit on the hub; a content hash of local weights). `narrate` hears of downloads and conversions.

    Raises `Missing` where there is no such model, `BadInput` for a family that is not supported or weights that are
    pickles, `Damaged` for files that cannot be read or are not those that `revision` pins.
    """
    if dtype not in DTYPES:
        raise BadInput(f"no dtype named {dtype!r}", f"use one of {', '.join(DTYPES)}")
    place = resolve_device(device)
    source = _find(spec, revision, narrate)
    if source.local and revision not in (None, source.revision):
        raise Damaged(
            f"{source.spec} does not hold the weights it was pinned to", "restore them, or make a new project on them"
        )
    hf, tokenizer = _read(source, DTYPES[dtype])
    hf.to(place)  # type: ignore[arg-type]  # transformers decorates `to` without types
    return LanguageModel(hf, tokenizer, spec=source.spec, revision=source.revision)


def describe_model(model: LanguageModel, device: str = "auto", dtype: str = "float32") -> ModelRecord:
    """The row that a project keeps of its model; `device` and `dtype` are kept as the person gave them."""
    return ModelRecord(
        spec=model.spec,
        revision=model.revision,
        family=model.architecture.model_type,
        n_layers=model.n_layers,
        d_model=model.d_model,
        d_mlp=model.d_mlp,
        vocab_size=model.vocab_size,
        device=device,
        dtype=dtype,
    )


def load_project_model(project: Project, narrate: Callable[[str], None] = lambda _text: None) -> LanguageModel:
    """The project's model at the revision that it pins; `Damaged` if the weights have changed since."""
    record = project.model
    return load_model(record.spec, record.device, record.dtype, record.revision, narrate)


def resolve_device(device: str) -> torch.device:
    """The device that a word means (`auto`: CUDA, then MPS, then the CPU); `BadInput` if it is not here."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = device.partition(":")
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in here or (index and not index.isdecimal()) or int(index or 0) >= here[kind]:
        found = [name for name, count in here.items() if count]
        raise BadInput(f"there is no device {device!r} here", f"use auto or one of {', '.join(found)}")
    return torch.device(device)


def _find(spec: str, revision: str | None, narrate: Callable[[str], None]) -> Source:
    if spec.startswith(_BUILTIN):
        if spec != EMBEDDED_SPEC:
            raise Missing(f"no built-in model {spec!r}", f"the built-in model is {EMBEDDED_SPEC}")
        return Source(spec, str(embedded_directory(narrate)), GGUF_SHA256, local=True)
    path = Path(spec).expanduser()
    if path.is_dir():
        path = path.resolve()
        return Source(str(path), str(path), _check_directory(path), local=True)
    if path.is_file() and path.suffix == ".gguf":
        path = path.resolve()
        directory, found = converted_gguf(path)
        return Source(str(path), str(directory), found, local=True)
    if path.exists():
        raise BadInput(f"{spec} is not a model", "give a directory of safetensors, a .gguf file or a hub id")
    if spec.count("/") != 1 or spec.startswith((".", "/", "~")) or path.suffix == ".gguf":
        raise Missing(f"there is no model at {spec}", f"give a directory, a .gguf file, a hub id or {EMBEDDED_SPEC}")
    return _find_on_hub(spec, revision)


def _check_directory(directory: Path) -> str:
    """The content hash of a directory's weights, after refusing what cannot or must not be loaded."""
    weights = sorted(path.name for path in directory.glob("*.safetensors"))
    if not (directory / "config.json").is_file():
        raise Missing(f"{directory} holds no model (no config.json)", "give the directory that `save_pretrained` wrote")
    if not weights:
        if any(any(directory.glob(pattern)) for pattern in _PICKLES):
            raise BadInput(
                f"{directory} holds its weights as pickles, which can run code",
                "convert them where you trust them: AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW) "
                "writes safetensors",
            )
        raise Missing(f"{directory} holds no *.safetensors", "give the directory that `save_pretrained` wrote")
    _family_of(_read_json(directory / "config.json"), str(directory))
    index = directory / "model.safetensors.index.json"
    listed = set(_read_json(index).get("weight_map", {}).values()) if index.is_file() else set()
    if absent := sorted(listed - set(weights)):
        raise Damaged(f"{directory} lacks the shard {absent[0]}", "copy the whole model again")
    pinned = [name for name in _PINNED if (directory / name).is_file()]
    return directory_hash(directory, [*weights, *pinned])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read as JSON", "copy the model again") from error
    if not isinstance(document, dict):
        raise Damaged(f"{path} is not a JSON object", "copy the model again")
    return document


def _family_of(config: dict[str, Any], where: str) -> None:
    if "model_type" not in config:
        raise BadInput(f"the config.json of {where} names no model_type", "give a transformers model")
    architecture_of(str(config["model_type"]))


def _find_on_hub(spec: str, revision: str | None) -> Source:
    """Fetch the configuration from the hub (or its cache): it names the family, and its place the commit."""
    try:
        found = cached_file(spec, "config.json", revision=revision or "main")
    except (OSError, ValueError) as error:
        raise Missing(
            f"the model {spec} is not in the hub's cache and could not be fetched",
            "check its name and the network (HF_HUB_OFFLINE, proxy, token), or give a local directory",
        ) from error
    config = Path(str(found))
    _family_of(_read_json(config), spec)
    return Source(spec, spec, config.parent.name, local=False)  # …/snapshots/COMMIT/config.json


def _read(source: Source, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load weights and tokenizer; a tensor that is absent, of another shape or unreadable is `Damaged`."""
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": source.local}
    if not source.local:
        options["revision"] = source.revision
    try:
        with quiet_loading() if source.local else nullcontext():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source.location,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # else transformers raises a table; refused below
                **options,
            )
        tokenizer = _tokenizer_type(source).from_pretrained(source.location, **options)
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Damaged(f"{source.spec} cannot be loaded: {reason}", "copy or download the model again") from error
    hf, report = loaded
    if absent := sorted(report["missing_keys"]):
        raise Damaged(f"{source.spec} lacks the weights {absent[0]}", "copy or download the model again")
    if mismatched := sorted(report["mismatched_keys"]):
        name, found, expected = mismatched[0]
        raise Damaged(
            f"{source.spec} holds {name} of shape {list(found)}, but its config.json asks for {list(expected)}",
            "copy or download the model again",
        )
    return hf, tokenizer


def _tokenizer_type(source: Source) -> Any:
    """The class that reads the tokenizer: the generic one where the model says so.

    Asked alone, transformers puts the family's class in its place for some families (Qwen2), which misreads a
    tokenizer.json of another make.
    """
    config = Path(source.location) / "tokenizer_config.json"
    named = _read_json(config).get("tokenizer_class") if source.local and config.is_file() else None
    return PreTrainedTokenizerFast if named in _GENERIC_TOKENIZERS else AutoTokenizer
