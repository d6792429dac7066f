"""Density, maximum, histogram and strongest examples of every feature of one layer, in one pass of bounded state."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from store.contexts import N_CONTEXTS, TOKENS_AFTER, TOKENS_BEFORE
from store.search import Example
from tasks.dictionaries.protocol import Dictionary

HISTOGRAM_BINS = 20
"""One bin an octave: bin b counts activations in [2^(b−10), 2^(b−9)); the first and the last take what lies beyond."""
_LOWEST_OCTAVE = -10
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class FeatureSummary:
    """What one feature did."""

    density: float
    """Share of tokens it is active on."""
    maximum: float
    mean: float
    """Over the tokens it is active on; 0 if there are none."""
    histogram: list[int]
    """See `HISTOGRAM_BINS`."""
    examples: list[Example]
    """The strongest, strongest first."""
    windows: list[list[float]]
    """Activations around the first `N_CONTEXTS` of them, from `TOKENS_BEFORE` tokens before to `TOKENS_AFTER` after;
    NaN where the rows do not say (outside the window of text that was read, or the batch)."""


class FeatureStatistics:
    """Counts rows of one layer in; `summary` reads one feature out."""

    def __init__(self, dictionary: Dictionary, n_examples: int = 20) -> None:
        """Describe every feature of `dictionary`, with at most `n_examples` contexts each."""
        n_features = dictionary.n_features
        self.n_tokens = 0
        self._dictionary = dictionary
        self._count = torch.zeros(n_features, dtype=torch.long)
        self._total = torch.zeros(n_features, dtype=torch.float64)
        self._histogram = torch.zeros(n_features * HISTOGRAM_BINS, dtype=torch.long)
        self._strongest = torch.zeros(n_features, n_examples)
        self._places = torch.zeros(n_features, n_examples, 2, dtype=torch.long)
        self._offsets = torch.arange(-TOKENS_BEFORE, TOKENS_AFTER + 1)
        self._windows = torch.full((n_features, min(n_examples, N_CONTEXTS), len(self._offsets)), torch.nan).half()

    @torch.no_grad()
    def add(self, h: Float[Tensor, "rows m"], documents: Int[Tensor, " rows"], positions: Int[Tensor, " rows"]) -> None:
        """Count these rows in; `documents` and `positions` say where in the corpus each is."""
        places = torch.stack([documents.long(), positions.long()], dim=1)
        for piece, where in zip(h.split(_ROWS_AT_ONCE), places.split(_ROWS_AT_ONCE), strict=True):
            z = self._dictionary.encode(piece.to(self._dictionary.write_bias.device)).float().cpu()
            self.n_tokens += len(z)
            self._count_active(z)
            self._keep_strongest(z, where)

    def summary(self, feature: int) -> FeatureSummary:
        """What is known of one feature."""
        count = int(self._count[feature])
        first, last = feature * HISTOGRAM_BINS, (feature + 1) * HISTOGRAM_BINS
        examples = [
            Example(int(document), int(position), float(activation))
            for (document, position), activation in zip(
                self._places[feature].tolist(), self._strongest[feature].tolist(), strict=True
            )
            if activation > 0
        ]
        return FeatureSummary(
            density=count / max(1, self.n_tokens),
            maximum=float(self._strongest[feature, 0]),
            mean=float(self._total[feature]) / max(1, count),
            histogram=self._histogram[first:last].tolist(),
            examples=examples,
            windows=self._windows[feature, : len(examples)].tolist(),
        )

    def _count_active(self, z: Float[Tensor, "rows n_features"]) -> None:
        self._count += (z > 0).sum(0)
        self._total += z.clamp_min(0).sum(0, dtype=torch.float64)
        rows, features = (z > 0).nonzero(as_tuple=True)
        octave = z[rows, features].log2().floor().long() - _LOWEST_OCTAVE
        bins = features * HISTOGRAM_BINS + octave.clamp(0, HISTOGRAM_BINS - 1)
        self._histogram += torch.bincount(bins, minlength=len(self._histogram))

    def _keep_strongest(self, z: Float[Tensor, "rows n_features"], places: Int[Tensor, "rows 2"]) -> None:
        """Merge the batch's strongest with those kept; the earlier row wins a tie."""
        n_examples = self._strongest.shape[1]
        strongest, rows = z.T.topk(min(n_examples, len(z)), dim=1)
        merged = torch.cat([self._strongest, strongest], dim=1)
        windows = torch.cat([self._windows, self._around(z, places, rows[:, : self._windows.shape[1]])], dim=1)
        where = torch.cat([self._places, places[rows]], dim=1)
        order = merged.argsort(dim=1, descending=True, stable=True)[:, :n_examples]
        self._strongest = merged.gather(1, order)
        self._places = where.gather(1, order[:, :, None].expand(-1, -1, 2))
        # The first few of the merged are among the first few of either part, so their windows are at hand.
        n_kept = self._windows.shape[1]
        first = order[:, :n_kept]
        first = torch.where(first < n_examples, first, first - n_examples + n_kept)
        self._windows = windows.gather(1, first[:, :, None].expand(-1, -1, len(self._offsets)))

    def _around(
        self, z: Float[Tensor, "rows n_features"], places: Int[Tensor, "rows 2"], rows: Int[Tensor, "n_features top"]
    ) -> Float[Tensor, "n_features top window"]:
        """Each feature's activations on the tokens around its `rows`, NaN where the batch does not hold that token."""
        there = rows[:, :, None] + self._offsets
        inside = there.clamp(0, len(z) - 1)
        expected = torch.stack(torch.broadcast_tensors(places[rows, 0, None], places[rows, 1, None] + self._offsets))
        found = (there == inside) & (places[inside] == expected.permute(1, 2, 3, 0)).all(-1)
        features = torch.arange(z.shape[1])[:, None, None]
        return torch.where(found, z[inside, features], torch.nan).half()
