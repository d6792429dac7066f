"""The features of one layer that write most nearly the same direction.

Up to `EXACT_UP_TO` features every cosine is computed. Of more, each feature's candidates are found first, by the
cosines of random projections (Johnson and Lindenstrauss 1984), whose error has a standard deviation below 0.09; the
true cosines of these alone are ranked. So cosines are exact, and a near neighbour (0.6) is hardly ever missed.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tasks.dictionaries.logit_lens import compared_writes
from tasks.dictionaries.protocol import Dictionary
from tasks.model.language_model import LanguageModel

EXACT_UP_TO = 32_768
"""Features of one layer, of which all pairs take 5.5 TFLOP at width 2560."""
_PROJECTED = 128
_CANDIDATES = 64
_VECTORS_AT_ONCE = 1024
_COSINES_AT_ONCE = 1 << 23
_CANDIDATE_ROWS = 64


@torch.no_grad()
def nearest_by_decoder(
    model: LanguageModel, dictionary: Dictionary, n: int, exact_up_to: int = EXACT_UP_TO
) -> tuple[Int[Tensor, "n_features n"], Float[Tensor, "n_features n"]]:
    """For every feature those of the largest cosine with it, largest first; −1 where there are fewer.

    Write vectors are compared as `compared_writes` has it.
    """
    unit = _unit_writes(model, dictionary)
    if len(unit) <= exact_up_to or unit.shape[1] <= _PROJECTED:
        return _nearest(unit, n)
    candidates, _ = _nearest(_projected(unit), max(n, _CANDIDATES))
    return _ranked(unit, candidates.to(unit.device), n)


def _nearest(
    unit: Float[Tensor, "n_features d"], n: int
) -> tuple[Int[Tensor, "n_features n"], Float[Tensor, "n_features n"]]:
    """By all cosines of these rows, on the processor."""
    found = []
    for rows in torch.arange(len(unit), device=unit.device).split(max(1, _COSINES_AT_ONCE // len(unit))):
        cosines = unit[rows] @ unit.T
        cosines[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
        largest = cosines.topk(min(n, len(unit)), dim=1)
        known = largest.values.isfinite()
        found.append((torch.where(known, largest.indices, -1).cpu(), torch.where(known, largest.values, 0).cpu()))
    return torch.cat([indices for indices, _ in found]), torch.cat([values for _, values in found])


def _projected(unit: Float[Tensor, "n_features d"]) -> Float[Tensor, "n_features some"]:
    """The rows in a random subspace, of length one again; the same one each time."""
    drawn = torch.randn(unit.shape[1], _PROJECTED, generator=torch.Generator().manual_seed(0))
    return functional.normalize(unit @ torch.linalg.qr(drawn).Q.to(unit.device), dim=1, eps=1e-20)


def _ranked(
    unit: Float[Tensor, "n_features d"], candidates: Int[Tensor, "n_features some"], n: int
) -> tuple[Int[Tensor, "n_features n"], Float[Tensor, "n_features n"]]:
    """The best of each row's candidates by true cosine, on the processor."""
    found = []
    for rows in torch.arange(len(unit), device=unit.device).split(_CANDIDATE_ROWS):
        near = candidates[rows]
        cosines = torch.bmm(unit[near], unit[rows][:, :, None])[:, :, 0]
        largest = cosines.topk(n, dim=1)
        found.append((near.gather(1, largest.indices).cpu(), largest.values.cpu()))
    return torch.cat([indices for indices, _ in found]), torch.cat([values for _, values in found])


def _unit_writes(model: LanguageModel, dictionary: Dictionary) -> Float[Tensor, "n_features d"]:
    """Write vectors of length one; one of zeros stays one."""
    blocks = torch.arange(dictionary.n_features, device=model.device).split(_VECTORS_AT_ONCE)
    vectors = (compared_writes(model, dictionary, features) for features in blocks)
    return torch.cat([functional.normalize(rows, dim=1, eps=1e-20) for rows in vectors])
