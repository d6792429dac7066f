"""CE recovered while an SAE trains: a few held-out windows run again with its reconstruction in place of h."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tasks.dictionaries.corpus_text import CorpusText
from tasks.dictionaries.faithfulness import past_first
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.model.hidden import Windows
from tasks.model.language_model import LanguageModel
from tasks.model.replay import HiddenChange, record


@dataclass
class RecoveryProbe:
    """The same `n_tokens` held-out tokens each time; what the model does with h, and with zero for h, is kept."""

    model: LanguageModel
    text: CorpusText
    n_tokens: int
    _bounds: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Layer -> Σ CE with h and with zero in its place. Nats."""

    @torch.no_grad()
    def ce_recovered(self, autoencoder: SparseAutoencoder) -> float | None:
        """(CE of zero - CE of the reconstruction) / (CE of zero - CE of h); None where zero does nothing."""
        layer = autoencoder.layer
        if layer not in self._bounds:
            clean, zero = self._losses(layer, [lambda h: h, past_first(torch.zeros_like)])
            self._bounds[layer] = clean, zero
        clean, zero = self._bounds[layer]
        (spliced,) = self._losses(layer, [past_first(lambda h: autoencoder.decode(autoencoder.encode(h)))])
        return (zero - spliced) / (zero - clean) if abs(zero - clean) > 1e-9 else None

    def _losses(self, layer: int, changes: list[HiddenChange]) -> list[float]:
        """Σ CE of the next tokens under each change of h."""
        totals = [0.0] * len(changes)
        for batch in self._windows():
            predicted = torch.zeros_like(batch.mask)
            predicted[:, 1:-1] = batch.mask[:, 2:]
            following = batch.tokens.roll(-1, dims=1)[predicted].to(self.model.device)
            recording = record(self.model, batch.tokens, batch.mask, predicted, layer)
            for place, change in enumerate(changes):
                totals[place] += _cross_entropy(recording.logits({layer: change}), following)
        return totals

    def _windows(self) -> Iterator[Windows]:
        return iter(self.text.validation_windows(self.n_tokens))


def _cross_entropy(logits: Float[Tensor, "n vocab"], following: Int[Tensor, " n"]) -> float:
    return float(functional.cross_entropy(logits, following, reduction="sum"))
