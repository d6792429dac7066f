"""GGUF files, de-quantised once into a directory of safetensors (DESIGN §3).

transformers reads a GGUF but cannot save what it read, so a fresh model of the same configuration takes over the
weights. The tokenizer, with its chat template, comes out of the GGUF as well.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from store.errors import BadInput, Damaged
from store.files import content_hash
from tasks.model.architecture import architecture_of
from tasks.model.cache import build_once, cache_directory

_MAGIC = b"GGUF"
_LAYOUT = "1"
"""Part of the cache key: another number makes every conversion again."""


def converted_gguf(file: Path) -> tuple[Path, str]:
    """The safetensors directory of a GGUF file (converted on first use) and the file's content hash.

    Raises `Damaged` for a file that cannot be read, `BadInput` for a family that is not supported.
    """
    with file.open("rb") as start:
        if start.read(len(_MAGIC)) != _MAGIC:
            raise Damaged(f"{file} is not a GGUF file", "give a file that starts with the bytes GGUF")
    revision = content_hash(file)
    target = cache_directory() / "gguf" / f"{revision}-{_LAYOUT}"
    return build_once(target, lambda directory: convert_gguf(file, directory)), revision


def convert_gguf(file: Path, directory: Path) -> None:
    """De-quantise `file` into float32 safetensors, configuration and tokenizer in `directory`."""
    try:
        with quiet_loading(), redirect_stderr(io.StringIO()):  # its bar asks no setting
            _convert(file, directory)
    except (ValueError, IndexError, KeyError, OSError, RuntimeError) as error:
        raise Damaged(f"{file} cannot be read as a model: {error}", "fetch the file again, or another one") from error


def _convert(file: Path, directory: Path) -> None:
    where, name = str(file.parent), file.name
    architecture_of(_model_type(file))
    model = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # else the saved weights would be taken for quantised ones
    fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict())
    fresh.save_pretrained(directory)
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(directory)


def _model_type(file: Path) -> str:
    try:
        config = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
    except ValueError as error:
        if "not supported" in str(error):
            raise BadInput(f"{file}: {error}".rstrip("."), "use a model of a supported family") from error
        raise
    return str(config.model_type)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Inside, transformers draws no progress bars and prints no reports: what is wrong is raised."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
