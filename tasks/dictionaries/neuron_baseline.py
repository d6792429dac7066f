"""The neurons themselves as a dictionary of the same sparsity: what every SAE must beat (DESIGN §4).

At each token the k neurons of the largest |h| are kept and the rest is zero, for the k that is an SAE's L0.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_ROWS_AT_ONCE = 1024


def largest_neurons(h: Float[Tensor, "*batch m"], k: int) -> Float[Tensor, "*batch m"]:
    """h with all but its k largest coordinates, by size, set to zero."""
    chosen = h.abs().topk(min(k, h.shape[-1]), dim=-1).indices
    return torch.zeros_like(h).scatter(-1, chosen, h.gather(-1, chosen))


class NeuronMeter:
    """FVU of the neurons at every k at once, from rows that come in pieces; sums in float64."""

    def __init__(self) -> None:
        self._n = 0
        self._total: Tensor | float = 0.0
        self._ranked: Tensor | float = 0.0

    @torch.no_grad()
    def add(self, rows: Float[Tensor, "rows m"]) -> None:
        """Count these rows in."""
        for piece in rows.split(_ROWS_AT_ONCE):
            h = piece.float()
            self._n += len(h)
            self._total = self._total + h.double().sum(0).cpu()
            self._ranked = self._ranked + h.square().sort(dim=1, descending=True).values.double().sum(0).cpu()

    @property
    def width(self) -> int:
        """m: how many neurons there are."""
        return len(torch.as_tensor(self._ranked))

    def curve(self) -> Float[Tensor, " m_plus_1"]:
        """FVU if only the k largest neurons are kept, for k from 0 (all are zero) to m (nothing is lost)."""
        ranked, total = torch.as_tensor(self._ranked), torch.as_tensor(self._total)
        variance = ranked.sum() - total.square().sum() / self._n
        left = torch.cat([ranked.new_zeros(1), ranked.flip(0).cumsum(0)]).flip(0)
        return left / variance

    def fvu(self, k: int) -> float:
        """FVU with the k largest neurons."""
        curve = self.curve()
        return float(curve[min(k, len(curve) - 1)])

    def needed(self, fvu: float) -> int:
        """The fewest neurons a token that lose no more than `fvu`."""
        return int((self.curve() > fvu).sum())
