"""Running edits on features in the real model, many edits of one prompt in one batch (METHOD §5).

`delta` writes h' = h + D(z') - D(z): what the dictionary misses is kept, so no edit means no change. `replace` writes
h' = D(z') in every layer of the set: the seed's replacement model. z is what the features are in the run itself, with
the edits of lower layers already done.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.edits import Edits
from tasks.circuits.effect import target_values
from tasks.circuits.targets import Target
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.splice import Change, Splice, replacement, spliced_logits
from tasks.model.language_model import LanguageModel


class Spelling(StrEnum):
    """What is written back for edited features."""

    DELTA = "delta"
    REPLACE = "replace"


def edited_logits(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    edits: Edits,
    n_rows: int,
    spelling: Spelling = Spelling.DELTA,
) -> Float[Tensor, "row pos vocab"]:
    """Logits of `n_rows` copies of the prompt, each with its own edits."""
    batch = model.token_tensor(tokens).expand(n_rows, -1)
    with torch.no_grad():
        return spliced_logits(model, batch, edit_splices(dictionaries, edits, spelling))


def edit_splices(dictionaries: DictionarySet, edits: Edits, spelling: Spelling = Spelling.DELTA) -> list[Splice]:
    """What the edits do to the MLPs of a batch."""
    splices = []
    for layer, dictionary in dictionaries.layers.items():
        here = edits.take(edits.layer == layer)
        if len(here):
            change = _delta(dictionary, here) if spelling is Spelling.DELTA else _replace(dictionary, here)
            splices.append(Splice(layer, dictionary.reads, dictionary.writes, change))
        elif spelling is Spelling.REPLACE:
            splices.append(replacement(dictionary))
    return splices


def measure_each(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    rows: Sequence[Edits],
    target: Target,
    *,
    batch: int = 32,
    advance: Callable[[float], None] = lambda _: None,
) -> Float[Tensor, " row"]:
    """The target's value under each of `rows`, one batch row an entry."""
    results = [torch.empty(0, device=model.device)]
    for first in range(0, len(rows), batch):
        block = rows[first : first + batch]
        numbered = Edits.join([_at_row(edits, row) for row, edits in enumerate(block)])
        prompts = model.token_tensor(tokens).expand(len(block), -1)
        with torch.no_grad():
            results.append(target_values(model, prompts, dictionaries, edit_splices(dictionaries, numbered), target))
        advance(len(block))
    return torch.cat(results)


def _at_row(edits: Edits, row: int) -> Edits:
    return Edits(torch.full_like(edits.row, row), edits.layer, edits.position, edits.index, edits.multiply, edits.add)


def _delta(dictionary: Dictionary, edits: Edits) -> Change:
    def change(read: Tensor, write: Tensor) -> Tensor:
        places, place_of = torch.stack([edits.row, edits.position]).unique(dim=1, return_inverse=True)
        z = dictionary.encode(read[places[0], places[1]].float())[place_of, edits.index]
        moved = (edits.multiply - 1) * z + edits.add
        by_place = z.new_zeros(places.shape[1], dictionary.n_features)
        by_place.index_put_((place_of, edits.index), moved, accumulate=True)
        written = dictionary.decode(by_place) - dictionary.write_bias
        result = write.clone()
        result[places[0], places[1]] += written.to(write.dtype)
        return result

    return change


def _replace(dictionary: Dictionary, edits: Edits) -> Change:
    def change(read: Tensor, write: Tensor) -> Tensor:
        z = dictionary.encode(read.float())
        where = (edits.row, edits.position, edits.index)
        edited = z.index_put(where, edits.multiply * z[where] + edits.add)
        written = dictionary.decode(edited)
        if dictionary.skip is not None:
            written = written + read.float() @ dictionary.skip.T
        return written.to(write.dtype)

    return change
