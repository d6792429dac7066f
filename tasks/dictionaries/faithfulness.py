"""How much of the model's predictions survives when dictionaries stand in place of what they reconstruct (METHOD §6).

Compared, on the same tokens: the model itself; h replaced by its reconstruction; h replaced by zero; h replaced by its
mean; and, if asked for, h with only its largest neurons, as many as the SAE has features a token. The first position of
each window (the attention sink) keeps its h in all of them, as in training.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.dictionaries.neuron_baseline import largest_neurons
from tasks.dictionaries.protocol import Dictionary, Site
from tasks.dictionaries.splice import Splice
from tasks.model.hidden import Windows
from tasks.model.language_model import LanguageModel
from tasks.model.replay import HiddenChange, record
from tasks.model.smaller_batches import in_smaller_batches

KINDS = ("replaced", "zero", "mean")
"""What stands in place of h: the reconstruction, zero, the mean."""
LARGEST_NEURONS = "neurons"
"""And the largest neurons, the others at zero."""


@dataclass
class Losses:
    """Sums over tokens of one way to change the model. Nats."""

    ce: float = 0.0
    kl: float = 0.0

    def add(self, more: "Losses") -> None:
        """Count more tokens in."""
        self.ce += more.ce
        self.kl += more.kl


@dataclass(frozen=True)
class Recovery:
    """One layer, or all at once. Means over tokens, nats; KL is of the changed model from the model itself."""

    n_tokens: int
    ce_clean: float
    ce: Mapping[str, float]
    """Of each of `KINDS`, and of `LARGEST_NEURONS` where that was measured."""
    kl: Mapping[str, float]

    @classmethod
    def of(cls, n_tokens: int, ce_clean: float, sums: Mapping[str, Losses]) -> "Recovery":
        """Means of sums over tokens."""
        ce = {kind: losses.ce / n_tokens for kind, losses in sums.items()}
        return cls(n_tokens, ce_clean / n_tokens, ce, {kind: losses.kl / n_tokens for kind, losses in sums.items()})

    def document(self) -> dict[str, Any]:
        """Under the names that `--json` uses: 1 is the model itself, 0 is the ablation that is named (zero if none)."""
        return {
            "ce_recovered": self.recovered("ce", "zero"),
            "ce_recovered_mean": self.recovered("ce", "mean"),
            "kl_recovered": self.recovered("kl", "zero"),
            "kl_recovered_mean": self.recovered("kl", "mean"),
            "ce": {"clean": self.ce_clean, **self.ce},
            "kl": dict(self.kl),
        }

    def recovered(self, what: str, ablation: str, kind: str = "replaced") -> float | None:
        """(ablated − changed) / (ablated − clean) of one kind of change; None where the ablation does nothing."""
        values, clean = (self.ce, self.ce_clean) if what == "ce" else (self.kl, 0.0)
        lost = values[ablation] - clean
        return (values[ablation] - values[kind]) / lost if abs(lost) > 1e-9 else None

    def beside(self, kind: str) -> dict[str, Any]:
        """What another change recovers, against zero ablation."""
        return {"ce_recovered": self.recovered("ce", "zero", kind), "kl_recovered": self.recovered("kl", "zero", kind)}


def past_first(change: HiddenChange) -> HiddenChange:
    """The change at every position of a window but its first."""
    return lambda h: torch.cat([h[:, :1], change(h)[:, 1:].to(h.dtype)], dim=1)


def replacement_past_first(dictionary: Dictionary) -> Splice:
    """h' = D(E(h)) but at the first position, for `spliced_logits`. Reads and writes h alone."""
    change = past_first(lambda h: dictionary.decode(dictionary.encode(h)))
    return Splice(dictionary.layer, dictionary.reads, dictionary.writes, lambda read, _write: change(read))


def measure_recovery(
    model: LanguageModel,
    dictionaries: Mapping[int, Dictionary],
    means: Mapping[int, Float[Tensor, " m"]],
    batches: Iterable[Windows],
    advance: Callable[[float], None],
    neurons: Mapping[int, int] | None = None,
) -> tuple[dict[int, Recovery], Recovery]:
    """Each layer's recovery, and that of all layers at once. `means` are of h; `advance` hears of the tokens done.

    With `neurons` (layer -> how many), that many of the largest neurons are compared too.
    """
    assert all(each.reads is each.writes is Site.MLP_HIDDEN for each in dictionaries.values())
    ways = _ways(_changes(dictionaries, means, neurons))
    kinds = dict.fromkeys(kind for _, kind in ways)
    sums = {way: Losses() for way in ways}
    ce_clean, n_tokens = 0.0, 0

    def measured(windows: Windows) -> tuple[int, float, list[Losses]]:
        predicted, following = _predicted(windows)
        recording = record(model, windows.tokens, windows.mask, predicted, min(dictionaries))
        reference = _Reference(recording.logits({}), following.to(model.device))
        losses = []
        for changes in ways.values():
            losses.append(reference.losses(recording.logits(changes)))
            advance(len(following) / len(ways))
        return len(following), reference.losses(reference.logits).ce, losses

    for _, (n_here, ce_here, losses) in in_smaller_batches(batches, measured):
        n_tokens += n_here
        ce_clean += ce_here
        for way, more in zip(ways, losses, strict=True):
            sums[way].add(more)

    def recovery(where: int | None) -> Recovery:
        return Recovery.of(n_tokens, ce_clean, {kind: sums[where, kind] for kind in kinds})

    return {layer: recovery(layer) for layer in dictionaries}, recovery(None)


class _Reference:
    """The model's own predictions of the tokens that follow, to compare changed ones with."""

    def __init__(self, logits: Float[Tensor, "n vocab"], following: Int[Tensor, " n"]) -> None:
        self.logits = logits
        self._following = following
        self._probabilities = logits.softmax(-1)
        self._negative_entropy = torch.linalg.vecdot(self._probabilities, logits) - logits.logsumexp(-1)

    def losses(self, changed: Float[Tensor, "n vocab"]) -> Losses:
        """Sums over tokens. KL(p‖q) = Σ p log p − Σ p log q, with log q left as logits less their log-sum."""
        log_sum = changed.logsumexp(-1)
        ce = log_sum - changed.gather(1, self._following[:, None])[:, 0]
        kl = self._negative_entropy - (torch.linalg.vecdot(self._probabilities, changed) - log_sum)
        return Losses(float(ce.double().sum()), float(kl.double().sum()))


def _predicted(batch: Windows) -> tuple[Bool[Tensor, "batch pos"], Int[Tensor, " n"]]:
    """The positions whose next token is in the window, but the first; and those next tokens."""
    predicted = torch.zeros_like(batch.mask)
    predicted[:, 1:-1] = batch.mask[:, 2:]
    return predicted, batch.tokens.roll(-1, dims=1)[predicted]


def _changes(
    dictionaries: Mapping[int, Dictionary], means: Mapping[int, Tensor], neurons: Mapping[int, int] | None
) -> dict[str, dict[int, HiddenChange]]:
    """Kind -> the change in each layer."""

    def change(layer: int, kind: str) -> HiddenChange:
        if kind == "replaced":
            return past_first(lambda h: dictionaries[layer].decode(dictionaries[layer].encode(h)))
        if kind == "zero":
            return past_first(torch.zeros_like)
        if neurons is not None and kind == LARGEST_NEURONS:
            return past_first(lambda h: largest_neurons(h, neurons[layer]))
        return past_first(lambda h: means[layer].to(h).expand_as(h))

    kinds = KINDS if neurons is None else (*KINDS, LARGEST_NEURONS)
    return {kind: {layer: change(layer, kind) for layer in dictionaries} for kind in kinds}


def _ways(changes: Mapping[str, dict[int, HiddenChange]]) -> dict[tuple[int | None, str], dict[int, HiddenChange]]:
    """(layer, or None for all; kind) -> the change in each layer."""
    ways: dict[tuple[int | None, str], dict[int, HiddenChange]] = {}
    for kind, every in changes.items():
        ways[None, kind] = every
        ways |= {(layer, kind): {layer: change} for layer, change in every.items()}
    return ways
