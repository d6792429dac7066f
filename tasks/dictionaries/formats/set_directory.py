"""A whole set as a directory of foreign folders, one a layer: found, read, and written whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

from store.errors import BadInput
from tasks.dictionaries.formats import saelens, sparsify
from tasks.dictionaries.formats.saelens import hook_name, read_saelens, write_saelens
from tasks.dictionaries.formats.sparsify import folder_name, read_sparsify, write_sparsify
from tasks.dictionaries.formats.weight_files import CONFIG_FILE, CONVERT, PICKLES, ForeignLayer, Shape
from tasks.dictionaries.sae import SparseAutoencoder

Format = Literal["saelens", "sparsify"]
Reader = Callable[[Path, Shape], ForeignLayer]
_READERS: dict[str, Reader] = {saelens.WEIGHTS_FILE: read_saelens, sparsify.WEIGHTS_FILE: read_sparsify}


def read_set(directory: Path, shape: Shape, layers: Collection[int] = ()) -> Iterator[ForeignLayer]:
    """Every SAE under `directory` (or in it), one after another; with `layers`, only those.

    `BadInput` for a place without SAEs, for a pickle, for two SAEs of one layer, and for a layer that is not there.
    """
    folders = _folders(directory)
    seen: dict[int, Path] = {}
    for folder in folders:
        foreign = _reader(folder)(folder, shape)
        if layers and foreign.layer not in layers:
            continue
        if foreign.layer in seen:
            raise BadInput(
                f"{seen[foreign.layer]} and {folder} are both of layer {foreign.layer}", "import one of the two"
            )
        seen[foreign.layer] = folder
        yield foreign
    absent = sorted(set(layers) - seen.keys())
    if absent:
        raise BadInput(f"{directory} has no SAE of layer {absent[0]}", f"its layers are {sorted(seen)}")


def write_set(
    autoencoders: Mapping[int, SparseAutoencoder], directory: Path, format_name: Format, model_name: str
) -> list[Path]:
    """Write a folder a layer into the new `directory`; the folders. Nothing is left of a write that fails."""
    if directory.exists():
        raise BadInput(f"{directory} exists", "choose another name")
    unfinished = directory.with_name(f".writing-{secrets.token_hex(8)}")
    write, name = (write_saelens, hook_name) if format_name == "saelens" else (write_sparsify, folder_name)
    try:
        unfinished.mkdir(parents=True)
        for layer, autoencoder in sorted(autoencoders.items()):
            write(autoencoder, unfinished / name(layer), model_name)
        os.rename(unfinished, directory)
    except OSError as error:
        raise BadInput(f"{directory} cannot be written ({error.strerror})", "choose another place") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [directory / name(layer) for layer in sorted(autoencoders)]


def _folders(directory: Path) -> list[Path]:
    """The folders with a config and weights; what a person may have meant instead is refused by name."""
    if directory.is_file():
        if directory.suffix in PICKLES:
            raise BadInput(f"{directory} is no safetensors file and could run code", CONVERT)
        raise BadInput(
            f"{directory} is a file", f"name the folder that holds {CONFIG_FILE}, or the folder around those"
        )
    if not directory.is_dir():
        raise BadInput(f"there is no {directory}", "name a directory with SAEs of SAELens or sparsify")
    configs = sorted({directory / CONFIG_FILE, *directory.rglob(CONFIG_FILE)})
    folders = [config.parent for config in configs if config.is_file()]
    found = [folder for folder in folders if any((folder / name).is_file() for name in _READERS)]
    if not found:
        pickles = sorted(path for path in directory.rglob("*") if path.suffix in PICKLES)
        if pickles:
            raise BadInput(f"{pickles[0]} is no safetensors file and could run code", CONVERT)
        raise BadInput(
            f"{directory} holds no SAE",
            f"name a directory with {CONFIG_FILE} beside {saelens.WEIGHTS_FILE} or {sparsify.WEIGHTS_FILE}",
        )
    return found


def _reader(folder: Path) -> Reader:
    return next(reader for name, reader in _READERS.items() if (folder / name).is_file())
