"""What becomes of which features, and where (METHOD §5), as tables; `tasks.graphs.edit` has the grammar.

Every edit is z' = multiply · z + add: ablate 0·z, scale c·z, steer z + s, set (a swap) 0·z + v.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from store.errors import BadInput
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.graphs.feature_name import FeatureName


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

    def at_dose(self, dose: float) -> "Edits":
        """The same edits, `dose` times as strong: z' = z + dose · (multiply · z + add - z)."""
        return replace(self, multiply=1 + dose * (self.multiply - 1), add=dose * self.add)

    def at_row(self, row: int) -> "Edits":
        """The same edits in another row of a batch."""
        return replace(self, row=torch.full_like(self.row, row))

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
