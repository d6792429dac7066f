"""The few tokens of each feature that are kept as its examples, the best first by some measure.

What is kept depends on the set of tokens that were seen, not on their order or their parts: ties go to the earlier
place. So states of parts can be merged, and an interrupted pass can go on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from store.contexts import TOKENS_AFTER, TOKENS_BEFORE
from tasks.indexing.places import DRAWS, NOWHERE, drawn, empty_places

WINDOW = TOKENS_BEFORE + 1 + TOKENS_AFTER
"""Activations kept around an example."""
_RANK_BITS = 32
Windows = Callable[[Tensor], Tensor]
"""From numbers of candidates [n] to the activations around them [n, WINDOW], NaN where not known."""


class Measure(StrEnum):
    """What makes one token a better example than another."""

    STRONGEST = "strongest"
    """The larger activation, of those above zero."""
    LOWEST = "lowest"
    """The activation further below zero."""
    SAMPLED = "sampled"
    """A draw that depends on the place alone: a uniform sample of the tokens that the feature is active on."""

    def ranks(self, values: Float[Tensor, "*shape"], places: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """A number in [0, 2³¹) that is larger for a better example; −1 of an empty slot."""
        if self is Measure.SAMPLED:
            ranks = DRAWS - 1 - drawn(places)
        else:  # the bits of positive floats rise with them
            signed = values if self is Measure.STRONGEST else -values
            ranks = signed.clamp_min(0).contiguous().view(torch.int32).long()
        return torch.where(places == NOWHERE, -1, ranks)


@dataclass
class KeptExamples:
    """At most `n` tokens a feature, the best first; of the first `n_windows` also the activations around them."""

    measure: Measure
    values: Float[Tensor, "n_features n"]
    places: Int[Tensor, "n_features n"]
    windows: Float[Tensor, "n_features n_windows window"]
    _floor: Tensor | None = field(default=None, repr=False)
    """Rank of each feature's last example: what a candidate must reach."""

    @classmethod
    def empty(cls, measure: Measure, n_features: int, n: int, n_windows: int, device: torch.device) -> "KeptExamples":
        """Nothing seen yet."""
        windows = torch.full((n_features, min(n, n_windows), WINDOW), torch.nan, dtype=torch.half, device=device)
        values = torch.zeros(n_features, n, device=device)
        return cls(measure, values, empty_places(n_features, n, device=device), windows)

    def add(
        self,
        features: Int[Tensor, " seen"],
        values: Float[Tensor, " seen"],
        places: Int[Tensor, " seen"],
        windows: Windows,
        ranks: Int[Tensor, " seen"] | None = None,
    ) -> None:
        """Offer these (feature, activation, place); `windows` is asked for those alone that are kept.

        `ranks` are theirs by this measure, where the caller has them.
        """
        if self._floor is None:
            self._floor = self.measure.ranks(self.values[:, -1], self.places[:, -1])
        ranks = self.measure.ranks(values, places) if ranks is None else ranks
        enough = ranks >= self._floor[features]
        if self.measure is not Measure.SAMPLED:
            enough &= ranks > 0
        entering = enough.nonzero()[:, 0]
        if len(entering):
            self._merge(
                features[entering], values[entering], places[entering], lambda chosen: windows(entering[chosen])
            )

    def merge(self, other: "KeptExamples") -> None:
        """Take in what was kept of another part of the text."""
        features, slots = (other.places != NOWHERE).nonzero(as_tuple=True)
        self.add(
            features,
            other.values[features, slots],
            other.places[features, slots],
            lambda chosen: other.windows[features[chosen], slots[chosen]],
        )

    def tensors(self) -> dict[str, Tensor]:
        """All there is to write down."""
        return {"values": self.values, "places": self.places, "windows": self.windows}

    def _merge(self, features: Tensor, values: Tensor, places: Tensor, windows: Windows) -> None:
        n, n_windows = self.values.shape[1], self.windows.shape[1]
        touched, which = features.unique(return_inverse=True)
        held = len(touched) * n
        numbers = torch.arange(len(touched), device=features.device)
        of = torch.cat([numbers.repeat_interleave(n), which])
        all_values = torch.cat([self.values[touched].view(-1), values])
        all_places = torch.cat([self.places[touched].view(-1), places])
        order = all_places.argsort()
        ranks = self.measure.ranks(all_values, all_places)
        order = order[((of << _RANK_BITS) - ranks)[order].argsort(stable=True)]
        counts = torch.bincount(which, minlength=len(touched)) + n
        kept = order[(counts.cumsum(0) - counts)[:, None] + torch.arange(n, device=order.device)]
        self.values[touched] = all_values[kept]
        self.places[touched] = all_places[kept]
        assert self._floor is not None
        self._floor[touched] = self.measure.ranks(self.values[touched, -1], self.places[touched, -1])
        # Of the merged, the first few are among the first few of either part, so their windows are at hand.
        first = kept[:, :n_windows]
        around = self.windows[touched[:, None], (first % n).clamp_max(n_windows - 1)]
        new = first >= held
        around[new] = windows(first[new] - held).to(around)
        self.windows[touched] = around
