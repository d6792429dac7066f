"""What one pass over the text knows of the features of one layer, in bounded state.

A feature takes 200 bytes of totals and at most 272 of the token sample, and beside these its examples: the strongest
and a uniform sample with the activations around them, and of a dictionary with negative activations the lowest.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from store.contexts import N_CONTEXTS, TOKENS_AFTER, TOKENS_BEFORE
from tasks.dictionaries.protocol import Dictionary
from tasks.indexing.coactivation import TokenSample
from tasks.indexing.kept_examples import KeptExamples, Measure
from tasks.indexing.moments import Totals
from tasks.indexing.places import packed

N_SAMPLED = 10
"""Examples that are drawn from all tokens that a feature is active on."""
N_LOWEST = 4
"""Examples below zero."""
_ROWS_AT_ONCE = 2048
_CODES_AT_ONCE = 1 << 25
"""Activations held at once: 128 MB."""


@dataclass
class LayerPass:
    """Counts rows of one layer in. States of parts of a text merge into the state of all of it."""

    n_features: int
    totals: Totals
    tokens: TokenSample
    strongest: KeptExamples
    sampled: KeptExamples
    lowest: KeptExamples | None = None
    """None as long as nothing was below zero."""
    n_tokens: int = 0
    _offsets: Tensor = field(default_factory=lambda: torch.arange(-TOKENS_BEFORE, TOKENS_AFTER + 1))

    @classmethod
    def empty(cls, n_features: int, n_examples: int, device: torch.device) -> "LayerPass":
        """Nothing seen yet."""
        return cls(
            n_features,
            Totals.empty(n_features, device),
            TokenSample.empty(n_features, device),
            KeptExamples.empty(Measure.STRONGEST, n_features, n_examples, N_CONTEXTS, device),
            KeptExamples.empty(Measure.SAMPLED, n_features, N_SAMPLED, N_SAMPLED, device),
            _offsets=torch.arange(-TOKENS_BEFORE, TOKENS_AFTER + 1, device=device),
        )

    @torch.no_grad()
    def add(
        self,
        dictionary: Dictionary,
        x: Float[Tensor, "rows d_read"],
        documents: Int[Tensor, " rows"],
        positions: Int[Tensor, " rows"],
    ) -> None:
        """Count in what `dictionary` makes of these rows, which are from these places of the corpus."""
        device = self.totals.counts.device
        places = packed(documents, positions).to(device)
        at_once = max(1, min(_ROWS_AT_ONCE, _CODES_AT_ONCE // self.n_features))
        for piece, where in zip(x.split(at_once), places.split(at_once), strict=True):
            self._add(dictionary.encode(piece.to(device)).float(), where)

    def merge(self, other: "LayerPass") -> None:
        """Take in the state of another part of the text."""
        self.n_tokens += other.n_tokens
        self.totals.merge(other.totals)
        self.tokens.merge(other.tokens)
        self.strongest.merge(other.strongest)
        self.sampled.merge(other.sampled)
        if other.lowest is not None:
            self._lowest().merge(other.lowest)

    def tensors(self) -> dict[str, Tensor]:
        """All there is to write down; `read` is the way back."""
        parts = {
            "totals": self.totals.tensors(),
            "tokens": self.tokens.tensors(),
            "strongest": self.strongest.tensors(),
            "sampled": self.sampled.tensors(),
            "lowest": {} if self.lowest is None else self.lowest.tensors(),
        }
        found = {f"{part}.{name}": tensor for part, held in parts.items() for name, tensor in held.items()}
        return found | {"n_tokens": torch.tensor(self.n_tokens)}

    @classmethod
    def read(cls, tensors: dict[str, Tensor], device: torch.device) -> "LayerPass":
        """From what `tensors` gave."""

        def part(name: str) -> dict[str, Tensor]:
            return {
                key.partition(".")[2]: each.to(device) for key, each in tensors.items() if key.startswith(f"{name}.")
            }

        lowest = part("lowest")
        return cls(
            len(tensors["totals.counts"]),
            Totals(**part("totals")),
            TokenSample(**part("tokens")),
            KeptExamples(Measure.STRONGEST, **part("strongest")),
            KeptExamples(Measure.SAMPLED, **part("sampled")),
            KeptExamples(Measure.LOWEST, **lowest) if lowest else None,
            int(tensors["n_tokens"]),
            torch.arange(-TOKENS_BEFORE, TOKENS_AFTER + 1, device=device),
        )

    def state_bytes(self) -> tuple[int, int]:
        """(what the totals and the token sample take, what the examples take)."""
        sizes = {name: tensor.nbytes for name, tensor in self.tensors().items()}
        adding = sum(size for name, size in sizes.items() if name.startswith(("totals.", "tokens.")))
        return adding, sum(sizes.values()) - adding

    def _add(self, z: Float[Tensor, "rows n_features"], places: Int[Tensor, " rows"]) -> None:
        self.n_tokens += len(z)
        rows, features = z.nonzero(as_tuple=True)
        values = z[rows, features]
        self.totals.add(features, values)
        self.tokens.add(z, places)
        where = places[rows]

        def windows(chosen: Int[Tensor, " n"]) -> Float[Tensor, "n window"]:
            return self._around(z, places, rows[chosen], features[chosen])

        draws = self.sampled.measure.ranks(z[:, 0], places)  # of a token, whatever the feature
        self.sampled.add(features, values, where, windows, draws[rows])
        self.strongest.add(features, values, where, windows)
        if bool((values < 0).any()):
            self._lowest().add(features, values, where, windows)

    def _lowest(self) -> KeptExamples:
        if self.lowest is None:
            device = self.totals.counts.device
            self.lowest = KeptExamples.empty(Measure.LOWEST, self.n_features, N_LOWEST, N_LOWEST, device)
        return self.lowest

    def _around(
        self, z: Float[Tensor, "rows n_features"], places: Int[Tensor, " rows"], rows: Tensor, features: Tensor
    ) -> Float[Tensor, "n window"]:
        """Activations of `features` on the tokens around `rows`, NaN where the batch does not hold that token."""
        there = rows[:, None] + self._offsets
        inside = there.clamp(0, len(z) - 1)
        found = (there == inside) & (places[inside] == places[rows, None] + self._offsets)
        return torch.where(found, z[inside, features[:, None]], torch.nan)
