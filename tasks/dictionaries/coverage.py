"""How much of a layer the first so many features of a set account for, and which of them write the same."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.dictionaries.logit_lens import compared_writes
from tasks.dictionaries.protocol import Dictionary
from tasks.model.language_model import LanguageModel

_ROWS_AT_ONCE = 512
_FEATURES_AT_ONCE = 1024


class Coverage:
    """Counts rows of one layer in: the share of their variance that the features explain, by rank.

    The variance explained with the first k features is 1 − FVU of z[:k] · W_dec[:k] + b_dec (+ W_skip x).
    """

    def __init__(self, dictionary: Dictionary, ranked: Int[Tensor, " n"], cuts: Sequence[int]) -> None:
        """`ranked` are all features, the most important first; `cuts` the numbers of them to measure at, ascending."""
        self._dictionary, self._ranked, self._cuts = dictionary, ranked.to(dictionary.write_bias.device), cuts
        self._missed = torch.zeros(len(cuts), dtype=torch.float64)
        self._squares = 0.0
        self._sum = torch.zeros_like(dictionary.write_bias, dtype=torch.float64)
        self.n_rows = 0

    @torch.no_grad()
    def add(
        self, x: Float[Tensor, "rows d_read"], target: Callable[[Float[Tensor, "*rows d_read"]], Tensor] | None = None
    ) -> None:
        """Count these rows in. What is to be explained is what is read, or `target` of it: the MLP's output."""
        for piece in x.split(_ROWS_AT_ONCE):
            given = piece.to(self._sum.device)
            wanted = (given if target is None else target(given)).float()
            z = self._dictionary.encode(given.float())
            missing = wanted - self._dictionary.write_bias
            if self._dictionary.skip is not None:
                missing = missing - given.float() @ self._dictionary.skip.T
            done = 0
            for place, cut in enumerate(self._cuts):
                chosen = self._ranked[done:cut]
                missing = missing - z[:, chosen] @ self._dictionary.write_vectors(chosen)
                self._missed[place] += float(missing.double().square().sum())
                done = cut
            self._squares += float(wanted.double().square().sum())
            self._sum += wanted.double().sum(0)
            self.n_rows += len(piece)

    def explained(self) -> list[float]:
        """The share of the variance explained at each cut; below zero where it is worse than the mean."""
        variance = self._squares - float(self._sum.square().sum()) / max(1, self.n_rows)
        return (1.0 - self._missed / max(variance, 1e-30)).tolist()


@torch.no_grad()
def alike(model: LanguageModel, dictionary: Dictionary, above: float) -> list[tuple[int, int, float]]:
    """(feature, feature, cosine) of every pair whose write vectors have a cosine above that, the most alike first."""
    device = dictionary.write_bias.device
    everything = torch.arange(dictionary.n_features, device=device)
    found: list[tuple[int, int, float]] = []
    for first in everything.split(_FEATURES_AT_ONCE):
        rows = _unit(compared_writes(model, dictionary, first))
        for second in everything[int(first[0]) :].split(_FEATURES_AT_ONCE):
            cosine = rows @ _unit(compared_writes(model, dictionary, second)).T
            places = ((cosine > above) & (first[:, None] < second)).nonzero().tolist()
            found += [(int(first[i]), int(second[j]), float(cosine[i, j])) for i, j in places]
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


def in_pairs(pairs: Iterable[tuple[int, int, float]]) -> set[int]:
    """The features that are in any pair."""
    return {feature for first, second, _ in pairs for feature in (first, second)}


def _unit(rows: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    return torch.nn.functional.normalize(rows.float(), dim=1)
