"""How well a dictionary reconstructs what it reads, measured over rows that come in pieces (METHOD §6)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.dictionaries.protocol import Dictionary

DENSITY_EDGES = tuple(-6.0 + 0.5 * i for i in range(13))
"""log10 of the density (share of tokens that a feature is active on) at the edges of the histogram's bins."""
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Quality:
    """One dictionary on one set of tokens. FVU is ‖x − x̂‖² over ‖x − mean‖²: 0 is perfect, 1 is the mean."""

    n_tokens: int
    """The window that `dead_share` is stated for."""
    fvu: float
    """Of h."""
    fvu_output: float
    """Of W_down h: what the residual stream sees."""
    l0_mean: float
    """Active features a token."""
    l0_median: float
    dead_share: float
    """Share of features that are active on none of the `n_tokens`."""
    shrinkage: float
    """Mean of ‖ĥ‖ / ‖h‖."""
    top_variance_share: float
    """Share of h's variance in its top 1 % of coordinates."""
    density_histogram: tuple[int, ...]
    """Features a bin of `DENSITY_EDGES`; the dead are in none, the lowest bin takes what lies below."""

    @property
    def explained_variance(self) -> float:
        """1 − FVU, as SAELens reports it."""
        return 1.0 - self.fvu

    def document(self) -> dict[str, Any]:
        """Under the names that `--json` uses."""
        return {
            "fvu": self.fvu,
            "fvu_output": self.fvu_output,
            "explained_variance": self.explained_variance,
            "l0": self.l0_mean,
            "l0_median": self.l0_median,
            "dead_share": self.dead_share,
            "dead_window_tokens": self.n_tokens,
            "shrinkage": self.shrinkage,
            "top_variance_share": self.top_variance_share,
            "density_histogram": {"log10_edges": list(DENSITY_EDGES), "features": list(self.density_histogram)},
        }


class QualityMeter:
    """Sums over rows, in float64; `quality()` at the end."""

    def __init__(self, dictionary: Dictionary, down: Float[Tensor, "d m"]) -> None:
        """Measure `dictionary` in h and, through `down` (W_down), in what the MLP writes."""
        self._dictionary = dictionary
        self._down = down.float()
        self._errors = torch.zeros(2, dtype=torch.float64)
        self._moments = [_Moments(), _Moments()]
        self._shrinkage = 0.0
        self._active: list[Tensor] = []
        self._fired = torch.zeros(dictionary.n_features, dtype=torch.long)

    @torch.no_grad()
    def add(self, rows: Float[Tensor, "rows m"]) -> None:
        """Count these rows in."""
        for piece in rows.split(_ROWS_AT_ONCE):
            h = piece.to(self._down.device, torch.float32)
            z = self._dictionary.encode(h)
            h_hat = self._dictionary.decode(z).float()
            for place, (value, error) in enumerate(((h, h - h_hat), (h @ self._down.T, (h - h_hat) @ self._down.T))):
                self._errors[place] += error.double().square().sum().cpu()
                self._moments[place].add(value)
            self._shrinkage += float((h_hat.norm(dim=1) / h.norm(dim=1).clamp_min(1e-12)).sum())
            active = z != 0
            self._active.append(active.sum(1).cpu())
            self._fired += active.sum(0).cpu()

    def mean(self) -> Float[Tensor, " m"]:
        """The mean of h over the rows so far."""
        moments = self._moments[0]
        return torch.as_tensor(moments.total / moments.n).float()

    def quality(self) -> Quality:
        """What the rows so far came to. There must have been some."""
        active = torch.cat(self._active)
        variances = [moments.variance() for moments in self._moments]
        totals = [float(variance.sum()) for variance in variances]
        n_top = max(1, len(variances[0]) // 100)
        return Quality(
            n_tokens=len(active),
            fvu=float(self._errors[0]) / totals[0],
            fvu_output=float(self._errors[1]) / totals[1],
            l0_mean=float(active.double().mean()),
            l0_median=float(active.double().median()),
            dead_share=float((self._fired == 0).double().mean()),
            shrinkage=self._shrinkage / len(active),
            top_variance_share=float(variances[0].topk(n_top).values.sum()) / totals[0],
            density_histogram=_density_histogram(self._fired, len(active)),
        )


def _density_histogram(fired: Int[Tensor, " n_features"], n_tokens: int) -> tuple[int, ...]:
    """Living features by the log10 of their density."""
    logs = (fired[fired > 0].double() / n_tokens).log10()
    inner = torch.tensor(DENSITY_EDGES[1:-1], dtype=torch.float64)
    return tuple(torch.bincount(torch.bucketize(logs, inner, right=True), minlength=len(DENSITY_EDGES) - 1).tolist())


class _Moments:
    """Count, sum and sum of squares of each coordinate."""

    def __init__(self) -> None:
        self.n = 0
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, rows: Float[Tensor, "rows width"]) -> None:
        """Count these rows in."""
        exact = rows.double().cpu()
        self.n += len(exact)
        self.total = self.total + exact.sum(0)
        self.squares = self.squares + exact.square().sum(0)

    def variance(self) -> Float[Tensor, " width"]:
        """Sum of squared distances from the mean, for each coordinate."""
        return torch.as_tensor(self.squares - self.total * self.total / self.n)
