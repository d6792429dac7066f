"""A person's edits of one prompt, checked, and turned into a table for a prompt of any length.

Explicit positions mean the prompt's. `@*` (or none) means every position: generated tokens too, unless the edits are
kept to the prompt. A swap takes its values from another prompt of equal length and so only reaches the prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import BadInput
from tasks.circuits.frozen import FrozenRun
from tasks.circuits.nodes import read_value
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.graphs.edit import Edit, Operation, Supernode
from tasks.graphs.graph_edits import first_difference
from tasks.interventions.edits import Edits, expand

Maxima = Callable[[int, int], float]
"""(layer, feature) -> the feature's largest activation over the corpus."""


@dataclass(frozen=True)
class Request:
    """Edits whose supernodes are spelled out, and what they refer to."""

    edits: Sequence[Edit]
    dictionaries: DictionarySet
    n_prompt: int
    device: torch.device
    other: Mapping[int, Float[Tensor, "pos feature"]]
    """The features of the prompt that swaps take their values from, by layer."""
    maximum: Maxima
    generated: bool = True
    """Whether edits at every position reach generated tokens."""

    def table(self, edit: Edit, n_positions: int) -> Edits:
        """The places that one edit reaches in a text of `n_positions`, and what becomes of each."""
        if isinstance(edit.subject, Supernode):
            raise TypeError(f"the supernode {edit.subject} has not been spelled out")
        swapped = edit.operation is Operation.SWAP
        grows = edit.subject.positions is None and self.generated and not swapped
        found = expand(edit.subject, self.dictionaries, n_positions if grows else self.n_prompt, self.device)
        add = torch.full_like(found.add, edit.add)
        if swapped:
            parts = [self.other[layer][found.position[rows], found.index[rows]] for layer, rows in _by_layer(found)]
            add = torch.cat(parts)
        elif edit.in_maxima:
            places = zip(found.layer.tolist(), found.index.tolist(), strict=True)
            add = add * add.new_tensor([self.maximum(*place) for place in places])
        return replace(found, multiply=torch.full_like(found.multiply, edit.multiply), add=add)


def resolve(request: Request) -> Callable[[int], Edits]:
    """A function from the length of the text so far to the table of all edits. Every name is checked now."""

    def at_length(n_positions: int) -> Edits:
        return Edits.join([request.table(edit, n_positions) for edit in request.edits])

    _refuse_conflicts(at_length(request.n_prompt))
    return at_length


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
    """A swap needs the same positions in both prompts; `BadInput` gives both lengths and where the prompts part."""
    if len(clean) != len(corrupt):
        lengths = f"{len(clean)} and {len(corrupt)} tokens"
        raise BadInput(
            f"the prompts have different lengths: {lengths}, parting at position {first_difference(clean, corrupt)}",
            "swap between prompts of equal token length",
        )
