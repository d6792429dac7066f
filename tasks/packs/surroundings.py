"""What computed the numbers: versions, device and determinism flags, and the hashes of the model's files.

These are facts of the machine that packs; nothing in the rows says them again.
"""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from store.project import ModelRecord

_PACKAGES = (
    "workbench", "torch", "transformers", "tokenizers", "nnsight", "numpy", "networkx", "safetensors", "sqlite-utils",
    "pysqlite3", "datasets",
)  # fmt: skip
_MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.gguf")
_SEAL = "sealed.json"


def environment(device: str) -> dict[str, Any]:
    """Versions, processor or GPU, threads, and every switch that decides whether sums come out in the same order."""
    import torch

    from tasks.model.sources import resolve_device

    place = resolve_device(device)
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "device": str(place),
        "gpus": names,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "determinism": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cublas_workspace_config": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
            "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        },
    }


def model_files(model: ModelRecord) -> dict[str, dict[str, Any]]:
    """Name -> size and SHA-256 of each of the model's files on this machine; none where the model is not here."""
    place = model_place(model)
    if place is None:
        return {}
    paths = [place] if place.is_file() else sorted({path for glob in _MODEL_FILES for path in place.glob(glob)})
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in paths
        if path.is_file() and path.name != _SEAL
    }


def model_place(model: ModelRecord) -> Path | None:
    """The directory or file of the model's weights on this machine, without any download; None if it is not here."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    from tasks.model.embedded import EMBEDDED_SPEC, embedded_cache

    if model.spec == EMBEDDED_SPEC:
        return embedded_cache() if embedded_cache().is_dir() else None
    if (path := Path(model.spec).expanduser()).exists():
        return path
    try:
        found = try_to_load_from_cache(model.spec, "config.json", revision=model.revision)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
