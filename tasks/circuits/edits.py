"""The edit grammar: which features, where, and what becomes of them (METHOD §5).

    L12/345@7    feature 345 of layer 12 at position 7
    L12/345@-1   at the last position;  L12/345@7,9 at two;  L12/345 or L12/345@* at every position
    L4-12,20/*   every feature of these layers

Every edit is z' = multiply · z + add: ablate 0·z, scale c·z, steer z + s, set (a swap) 0·z + v.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from store.errors import BadInput
from tasks.dictionaries.dictionary_set import DictionarySet

NUMBER = r"[0-9]{1,9}"
LAYER = r"[0-9]{1,4}"
LAYERS = rf"{LAYER}(?:-{LAYER})?(?:,{LAYER}(?:-{LAYER})?)*"
PATTERN = re.compile(
    rf"L(?P<layers>{LAYERS})/(?P<feature>\*|{NUMBER})(?:@(?P<positions>\*|-?{NUMBER}(?:,-?{NUMBER})*))?"
)
HOW = "write features as L12/345, L12/345@7, L12/345@-1 or L4-12/*@*"


@dataclass(frozen=True)
class FeatureName:
    """A feature, or many, as a person writes them. `None` stands for all."""

    layers: tuple[int, ...]
    feature: int | None
    positions: tuple[int, ...] | None


def parse_feature(text: str) -> FeatureName:
    """Read one name; `BadInput` points at the character where the grammar breaks."""
    match = PATTERN.match(text)
    if match is None or match.end() != len(text):
        at = _first_fault(text) if match is None else match.end()
        raise BadInput(f"{text!r} is not a feature (at character {at + 1})", HOW)
    layers: list[int] = []
    for part in match["layers"].split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise BadInput(f"the layers {part} of {text!r} run backwards", f"write L{last}-{first}")
        layers.extend(range(int(first), int(last or first) + 1))
    positions = match["positions"] or "*"
    return FeatureName(
        tuple(sorted(set(layers))),
        None if match["feature"] == "*" else int(match["feature"]),
        None if positions == "*" else tuple(int(each) for each in positions.split(",")),
    )


def _first_fault(text: str) -> int:
    """The length of the longest beginning that some feature name could have."""
    prefix = re.match(rf"L?(?:{LAYERS})?/?", text)
    return 0 if prefix is None or not text.startswith("L") else prefix.end()


def parse_valued(text: str) -> tuple[str, str]:
    """Split `FEATURE=VALUE` as in --scale and --steer."""
    name, sign, value = text.partition("=")
    if not sign or not value:
        raise BadInput(f"{text!r} has no value", "write it as L12/345@7=2")
    return name, value


def parse_number(text: str) -> float:
    """A finite number; `BadInput` otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not torch.isfinite(torch.tensor(value)):
        raise BadInput(f"{text!r} is not a number", "write a plain number such as 2 or -1.5")
    return value


@dataclass(frozen=True)
class Edits:
    """A table of edits, one feature at one position of one batch row each: z' = multiply · z + add."""

    row: Int[Tensor, " edit"]
    layer: Int[Tensor, " edit"]
    position: Int[Tensor, " edit"]
    index: Int[Tensor, " edit"]
    multiply: Float[Tensor, " edit"]
    add: Float[Tensor, " edit"]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: Tensor) -> "Edits":
        """The edits of a mask or an index."""
        return Edits(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @classmethod
    def join(cls, parts: Sequence["Edits"]) -> "Edits":
        """All edits of several tables."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def expand(name: FeatureName, dictionaries: DictionarySet, n_positions: int, device: torch.device) -> Edits:
    """The places that a name stands for in a prompt of `n_positions`, as edits of batch row 0 that change nothing.

    `BadInput` for a layer without a dictionary, a feature out of range or a position outside the prompt.
    """
    positions = _positions(name, n_positions)
    grids = []
    for layer in name.layers:
        if layer not in dictionaries:
            known = ", ".join(str(each) for each in sorted(dictionaries.layers)) or "none"
            raise BadInput(f"layer {layer} has no dictionary in {dictionaries.name!r}", f"its layers are {known}")
        n_features = dictionaries[layer].n_features
        if name.feature is not None and name.feature >= n_features:
            raise BadInput(
                f"feature {name.feature} is out of range in layer {layer}", f"its features are 0 to {n_features - 1}"
            )
        features = range(n_features) if name.feature is None else (name.feature,)
        grids.append(torch.cartesian_prod(torch.tensor([layer]), torch.tensor(positions), torch.tensor(features)))
    table = torch.cat([grid.view(-1, 3) for grid in grids]).to(device)
    ones = torch.ones(len(table), device=device)
    return Edits(torch.zeros_like(table[:, 0]), table[:, 0], table[:, 1], table[:, 2], ones, torch.zeros_like(ones))


def _positions(name: FeatureName, n_positions: int) -> list[int]:
    if name.positions is None:
        return list(range(n_positions))
    for position in name.positions:
        if not -n_positions <= position < n_positions:
            raise BadInput(
                f"position {position} is outside the prompt", f"its positions are 0 to {n_positions - 1} (or -1 …)"
            )
    return sorted({position % n_positions for position in name.positions})
