"""The pass itself: layer by layer states that go on where a killed run stopped, leave part files, and are joined."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from store.errors import BadInput, Damaged, Missing
from store.files import sync
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.indexing.layer_pass import LayerPass
from tasks.indexing.sources import Share, Source
from tasks.training.checkpoints import Checkpoints

_PART = re.compile(r"index_part_(?P<key>[0-9a-f]+)_(?P<part>\d+)of(?P<of>\d+)\.safetensors")
_ALL_LAYERS = 0
"""A checkpoint of a pass holds all layers: they are read together."""


@dataclass
class TextPass:
    """What is known of some layers after some of the text."""

    layers: dict[int, LayerPass]
    next_piece: int = 0
    """The number of the first piece that was not looked at."""
    corpus_hash: str = ""

    @classmethod
    def empty(
        cls, dictionaries: DictionarySet, layers: Sequence[int], n_examples: int, device: torch.device
    ) -> "TextPass":
        """Nothing seen yet."""
        return cls({each: LayerPass.empty(dictionaries[each].n_features, n_examples, device) for each in layers})

    @property
    def n_tokens(self) -> int:
        """Tokens of one layer."""
        return max(layer.n_tokens for layer in self.layers.values())

    def tensors(self) -> dict[str, Tensor]:
        """All there is to write down."""
        return {
            f"L{layer}.{name}": tensor for layer, held in self.layers.items() for name, tensor in held.tensors().items()
        }

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], text: Mapping[str, str], device: torch.device) -> "TextPass":
        """From `tensors` and the text beside them."""
        by_layer: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            layer, _, rest = name.partition(".")
            by_layer.setdefault(int(layer[1:]), {})[rest] = tensor
        layers = {layer: LayerPass.read(by_layer[layer], device) for layer in sorted(by_layer)}
        return cls(layers, int(text["next_piece"]), text["corpus_hash"])

    def text(self) -> dict[str, str]:
        """What stands beside the tensors."""
        return {"next_piece": str(self.next_piece), "corpus_hash": self.corpus_hash}

    def merge(self, other: "TextPass") -> None:
        """Take in another part of the same text."""
        for layer, held in self.layers.items():
            held.merge(other.layers[layer])


def resumed(
    checkpoints: Checkpoints, source: Source, device: torch.device, note: Callable[[str], None]
) -> TextPass | None:
    """Where an interrupted run of the same work stopped, unless its text has changed since; else None."""
    found = checkpoints.read(_ALL_LAYERS, device)
    if found is None:
        return None
    state = TextPass.read(*found, device)
    if (now := source.hash_before(state.next_piece)) != state.corpus_hash:
        note(
            f"the text has changed since the run was interrupted ("
            f"hash {now}, it was {state.corpus_hash}): starting anew"
        )
        return None
    note(f"going on after {state.n_tokens} tokens")
    return state


def read_text(
    state: TextPass,
    source: Source,
    share: Share,
    dictionaries: DictionarySet,
    advance: Callable[[float], None],
    checkpoints: Checkpoints,
    rows_between: int,
) -> TextPass:
    """Count in every piece of a share that `state` has not seen. A state goes to the disk after so many rows."""
    waiting = 0
    for piece in source.pieces(share, state.next_piece):
        for layer, rows in piece.rows.items():
            state.layers[layer].add(dictionaries[layer], rows.h, rows.documents, rows.positions)
            waiting += len(rows.h)
            advance(len(rows.h))
        state.next_piece, state.corpus_hash = piece.number + 1, source.corpus_hash
        if waiting >= rows_between * len(state.layers):
            checkpoints.write(_ALL_LAYERS, state.next_piece, state.tensors(), state.text())
            waiting = 0
    state.corpus_hash = source.corpus_hash
    return state


def write_part(folder: Path, key: str, share: Share, state: TextPass) -> Path:
    """Leave a part in `folder`, whole or not at all; the path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"index_part_{key}_{share.part}of{share.of}.safetensors"
    temporary = folder / f".writing-{secrets.token_hex(8)}.safetensors"
    try:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors().items()}
        save_file(tensors, temporary, state.text())
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(folder)
    return path


def joined(folder: Path, key: str, device: torch.device, note: Callable[[str], None]) -> tuple[TextPass, list[Path]]:
    """The parts of that key in `folder` as one state, and their paths.

    Raises `Missing` that names the parts that are not there, `BadInput` if they are of different text.
    """
    paths = _parts(folder, key)
    note(f"joining {len(paths)} parts")
    whole = _read_part(paths[0], device)
    for path in paths[1:]:
        part = _read_part(path, device)
        if part.corpus_hash != whole.corpus_hash:
            raise BadInput(
                f"{path.name} is of other text than {paths[0].name}: hash {part.corpus_hash} and {whole.corpus_hash}",
                "make this part again, of the same corpus",
            )
        whole.merge(part)
    return whole, paths


def _parts(folder: Path, key: str) -> list[Path]:
    """All parts of the finest division of which there is any, in order."""
    matches = [match for path in folder.glob("index_part_*") if (match := _PART.fullmatch(path.name))]
    there = {(int(match["of"]), int(match["part"])): folder / match[0] for match in matches if match["key"] == key}
    if not there:
        fault = f"no parts of an index with these options in {folder}"
        raise Missing(fault, "`workbench index --part 1/2` makes one; the other options must be the same for all parts")
    n_parts = max(of for of, _ in there)
    absent = [part for part in range(1, n_parts + 1) if (n_parts, part) not in there]
    if absent:
        raise Missing(
            f"part {', '.join(f'{part}/{n_parts}' for part in absent)} is not in {folder}",
            f"run `workbench index --part {absent[0]}/{n_parts}`, or copy its file there",
        )
    return [there[n_parts, part] for part in range(1, n_parts + 1)]


def _read_part(path: Path, device: torch.device) -> TextPass:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return TextPass.read(tensors, file.metadata() or {}, device)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise Damaged(f"{path.name} cannot be read as a part of an index", "make this part again") from error
