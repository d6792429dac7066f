"""Which features are active together, from a bounded sample of the tokens."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.indexing.places import NOWHERE, drawn, empty_places

FEATURES_A_TOKEN = 32
"""The strongest features of a sampled token that are remembered."""
TOKENS_A_FEATURE = 2
MOST_TOKENS = 16_384
"""The sample holds `TOKENS_A_FEATURE` tokens a feature and no more than this: at most 272 bytes a feature."""
FEWEST_TOGETHER = 3
"""Two features that share fewer tokens of the sample say nothing of each other."""
_COUNTS_AT_ONCE = 1 << 23
_PAIRS_AT_ONCE = 1 << 22


@dataclass
class TokenSample:
    """The tokens with the smallest draws of all that were seen, and which features are strongest on each."""

    places: Int[Tensor, " n_tokens"]
    """In the order of their draws; `NOWHERE` of an empty slot."""
    active: Int[Tensor, "n_tokens some"]
    """Strongest first; −1 where fewer are active."""

    @classmethod
    def empty(cls, n_features: int, device: torch.device) -> "TokenSample":
        """Nothing seen yet."""
        n_tokens = min(TOKENS_A_FEATURE * n_features, MOST_TOKENS)
        some = min(FEATURES_A_TOKEN, n_features)
        active = torch.full((n_tokens, some), -1, dtype=torch.int32, device=device)
        return cls(empty_places(n_tokens, device=device), active)

    def add(self, z: Float[Tensor, "rows n_features"], places: Int[Tensor, " rows"]) -> None:
        """Offer these tokens; of those that stay, the strongest features are looked up."""
        last = self.places[-1]
        if int(last) != NOWHERE:
            entering = (drawn(places) <= drawn(last)).nonzero()[:, 0]
            z, places = z[entering], places[entering]
        if not len(places):
            return
        strongest, features = z.topk(self.active.shape[1], dim=1)
        self._keep(places, torch.where(strongest > 0, features, -1).int())

    def merge(self, other: "TokenSample") -> None:
        """Take in the sample of another part of the text."""
        there = other.places != NOWHERE
        self._keep(other.places[there], other.active[there])

    def tensors(self) -> dict[str, Tensor]:
        """All there is to write down."""
        return {"places": self.places, "active": self.active}

    def nearest(self, n_features: int, n: int) -> tuple[Int[Tensor, "n_features n"], Float[Tensor, "n_features n"]]:
        """For every feature those that are active on the same tokens, with the share of the tokens of either on which
        both are (Jaccard's index), largest first; feature −1 where there are fewer."""
        tokens, slots = (self.active >= 0).nonzero(as_tuple=True)
        features = self.active[tokens, slots].long()
        totals = torch.bincount(features, minlength=n_features)
        order = features.argsort(stable=True)
        tokens, features = tokens[order], features[order]
        bounds = torch.cat([totals.new_zeros(1), totals.cumsum(0)]).tolist()
        found = []
        for first, last in _stretches(bounds, self.active.shape[1]):
            part = slice(bounds[first], bounds[last])
            together = self._together(tokens[part], features[part] - first, last - first, n_features)
            together[torch.arange(last - first), torch.arange(first, last)] = 0
            either = totals[first:last, None] + totals - together
            share = torch.where(together >= FEWEST_TOGETHER, together / either.clamp_min(1), 0.0)
            largest = share.topk(min(n, n_features), dim=1)
            found.append((torch.where(largest.values > 0, largest.indices, -1), largest.values))
        return torch.cat([indices for indices, _ in found]), torch.cat([values for _, values in found])

    def _together(self, tokens: Tensor, rows: Tensor, n_rows: int, n_features: int) -> Tensor:
        """On how many of the tokens each of some features is active with each of all features."""
        counts = torch.zeros(n_rows * n_features, dtype=torch.int64, device=tokens.device)
        for token, row in zip(tokens.split(_PAIRS_AT_ONCE // 32), rows.split(_PAIRS_AT_ONCE // 32), strict=True):
            others = self.active[token].long()
            pairs = (row[:, None] * n_features + others)[others >= 0]
            counts += torch.bincount(pairs, minlength=len(counts))
        return counts.view(n_rows, n_features)

    def _keep(self, places: Tensor, active: Tensor) -> None:
        n = len(self.places)
        places, active = torch.cat([self.places, places]), torch.cat([self.active, active])
        by_place = places.argsort()
        ranks = torch.where(places == NOWHERE, NOWHERE, drawn(places))[by_place]
        order = by_place[ranks.argsort(stable=True)][:n]
        self.places, self.active = places[order], active[order]


def _stretches(bounds: list[int], a_token: int) -> list[tuple[int, int]]:
    """Ranges of features whose counts, and whose pairs, are few enough to be held at once."""
    n_features = len(bounds) - 1
    rows = max(1, _COUNTS_AT_ONCE // max(1, n_features))
    return [(first, min(first + rows, n_features)) for first in range(0, n_features, rows)]
