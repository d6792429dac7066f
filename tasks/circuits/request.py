"""A person's edits of one prompt, checked, and turned into a table for a prompt of any length.

Explicit positions mean the prompt's; `@*` (or none) means every position, generated tokens included. A swap takes its
values from another prompt of equal length and so only reaches the prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import BadInput
from tasks.circuits.edits import Edits, expand, parse_number, parse_valued
from tasks.circuits.frozen import FrozenRun
from tasks.circuits.nodes import read_value
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.graphs.feature_name import FeatureName, parse_feature

Maxima = Callable[[int, int], float]
"""(layer, feature) -> the feature's largest activation over the corpus."""


@dataclass(frozen=True)
class Edit:
    """One option of the command line: what to do with the features that a name stands for."""

    name: FeatureName
    multiply: float = 1.0
    add: float = 0.0
    in_maxima: bool = False
    """`add` counts multiples of each feature's maximum."""
    swapped: bool = False
    """Values come from the other prompt."""

    def table(self, dictionaries: DictionarySet, n_prompt: int, n_positions: int, device: torch.device) -> Edits:
        """The places this edit reaches in a prompt of `n_prompt` tokens grown to `n_positions`."""
        everywhere = self.name.positions is None and not self.swapped
        table = expand(self.name, dictionaries, n_positions if everywhere else n_prompt, device)
        return replace(
            table, multiply=torch.full_like(table.multiply, self.multiply), add=torch.full_like(table.add, self.add)
        )


def ablation(text: str) -> Edit:
    """`L12/345@7`: z' = 0."""
    return Edit(parse_feature(text), multiply=0.0)


def scaling(text: str) -> Edit:
    """`L12/345@7=2`: z' = 2z."""
    name, value = parse_valued(text)
    return Edit(parse_feature(name), multiply=parse_number(value))


def steering(text: str) -> Edit:
    """`L12/345@7=+3` adds 3; `=+2max` adds twice the feature's largest activation over the corpus."""
    name, value = parse_valued(text)
    in_maxima = value.endswith("max")
    return Edit(parse_feature(name), add=parse_number(value.removesuffix("max")), in_maxima=in_maxima)


def swapping(text: str) -> Edit:
    """`L12/345@7`: z' is what it is in the other prompt."""
    return Edit(parse_feature(text), multiply=0.0, swapped=True)


def resolve(
    edits: Sequence[Edit],
    dictionaries: DictionarySet,
    n_prompt: int,
    device: torch.device,
    other: Mapping[int, Float[Tensor, "pos feature"]],
    maximum: Maxima,
) -> Callable[[int], Edits]:
    """A function from the length of the text so far to the table of all edits. Every name is checked now."""

    def at_length(n_positions: int) -> Edits:
        parts = [_resolved(edit, dictionaries, n_prompt, n_positions, device, other, maximum) for edit in edits]
        return Edits.join(parts)

    _refuse_conflicts(at_length(n_prompt))
    return at_length


def _resolved(
    edit: Edit,
    dictionaries: DictionarySet,
    n_prompt: int,
    n_positions: int,
    device: torch.device,
    other: Mapping[int, Tensor],
    maximum: Maxima,
) -> Edits:
    table = edit.table(dictionaries, n_prompt, n_positions, device)
    if edit.swapped:
        parts = [other[layer][table.position[rows], table.index[rows]] for layer, rows in _by_layer(table)]
        return replace(table, add=torch.cat(parts))
    if edit.in_maxima:
        places = zip(table.layer.tolist(), table.index.tolist(), strict=True)
        return replace(table, add=table.add * table.add.new_tensor([maximum(*place) for place in places]))
    return table


def _by_layer(table: Edits) -> list[tuple[int, Tensor]]:
    """Rows of each layer; names list their layers in order, so that the parts concatenate back."""
    return [(layer, (table.layer == layer).nonzero().squeeze(1)) for layer in table.layer.unique().tolist()]


def _refuse_conflicts(table: Edits) -> None:
    places = torch.stack([table.layer, table.position, table.index])
    distinct, counts = places.unique(dim=1, return_counts=True)
    if len(distinct.T) < len(table):
        layer, position, index = distinct[:, int(counts.argmax())].tolist()
        raise BadInput(f"L{layer}/{index}@{position} is edited twice", "name each place in one edit")


def activations(dictionaries: DictionarySet, run: FrozenRun) -> dict[int, Float[Tensor, "pos feature"]]:
    """The features of every layer of a prompt that was run."""
    return {
        layer: dictionary.encode(read_value(dictionary, run.layers[layer]))
        for layer, dictionary in dictionaries.layers.items()
    }


def refuse_unequal(clean: Sequence[int], corrupt: Sequence[int]) -> None:
    """A swap needs the same positions in both prompts; `BadInput` gives both lengths."""
    if len(clean) != len(corrupt):
        raise BadInput(
            f"the prompts have different lengths: {len(clean)} and {len(corrupt)} tokens",
            "swap between prompts of equal token length",
        )
