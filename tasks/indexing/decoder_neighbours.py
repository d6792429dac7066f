"""The features of one layer that write most nearly the same direction."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tasks.dictionaries.logit_lens import stream_writes
from tasks.dictionaries.neurons import Neurons
from tasks.dictionaries.protocol import Dictionary
from tasks.model.language_model import LanguageModel

_VECTORS_AT_ONCE = 1024
_COSINES_AT_ONCE = 1 << 23


@torch.no_grad()
def nearest_by_decoder(
    model: LanguageModel, dictionary: Dictionary, n: int
) -> tuple[Int[Tensor, "n_features n"], Float[Tensor, "n_features n"]]:
    """For every feature those of the largest cosine with it, largest first; −1 where there are fewer.

    Write vectors are compared where the dictionary writes; those of neurons, which are orthogonal there, in the
    residual stream.
    """
    unit = _unit_writes(model, dictionary)
    n_features = len(unit)
    found = []
    for rows in torch.arange(n_features, device=unit.device).split(max(1, _COSINES_AT_ONCE // n_features)):
        cosines = unit[rows] @ unit.T
        cosines[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
        largest = cosines.topk(min(n, n_features), dim=1)
        known = largest.values.isfinite()
        found.append((torch.where(known, largest.indices, -1).cpu(), torch.where(known, largest.values, 0).cpu()))
    return torch.cat([indices for indices, _ in found]), torch.cat([values for _, values in found])


def _unit_writes(model: LanguageModel, dictionary: Dictionary) -> Float[Tensor, "n_features d"]:
    """Write vectors of length one; one of zeros stays one."""
    blocks = torch.arange(dictionary.n_features, device=model.device).split(_VECTORS_AT_ONCE)
    if isinstance(dictionary, Neurons):
        vectors = (stream_writes(model, dictionary, features) for features in blocks)
    else:
        vectors = (dictionary.write_vectors(features).float() for features in blocks)
    return torch.cat([functional.normalize(rows, dim=1, eps=1e-20) for rows in vectors])
