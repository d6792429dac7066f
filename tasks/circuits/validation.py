"""What the real model does when the features of a graph are removed, swapped, or left alone (METHOD §5).

Effects have the sign of a prediction: baseline - edited, in nats of the target. Δlogit is minus that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.circuits.edits import Edits
from tasks.circuits.effect import target_values
from tasks.circuits.intervene import edit_splices, measure_each
from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.targets import Target
from tasks.context import Stage
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class Bench:
    """One prompt, one target, one dictionary set: everything that a measurement needs."""

    model: LanguageModel
    tokens: tuple[int, ...]
    dictionaries: DictionarySet
    target: Target
    batch: int

    def baseline(self) -> float:
        """The target in the unmodified model, nats."""
        return self.value_with(None)

    def effects_of_setting(
        self, features: ActiveFeatures, activation: Float[Tensor, " n"], stage: Stage
    ) -> Float[Tensor, " n"]:
        """baseline - target, with each feature alone set to its entry of `activation` (0 ablates it)."""
        rows = [_setting(features.take(torch.tensor([i])), activation[i : i + 1]) for i in range(len(features))]
        measured = measure_each(
            self.model,
            self.tokens,
            self.dictionaries,
            rows,
            self.target,
            batch=self.batch,
            advance=stage.advance,
        )
        return self.baseline() - measured

    def value_with(self, edits: Edits | None) -> float:
        """The target under one joint edit, nats (a feature's own units, where that is the target)."""
        splices = [] if edits is None else edit_splices(self.dictionaries, edits)
        prompt = self.model.token_tensor(self.tokens)
        with torch.no_grad():
            return float(target_values(self.model, prompt, self.dictionaries, splices, self.target)[0])


def _setting(features: ActiveFeatures, activation: Float[Tensor, " n"]) -> Edits:
    zeros = torch.zeros_like(features.layer)
    return Edits(zeros, features.layer, features.position, features.index, torch.zeros_like(activation), activation)


def matched_controls(
    active: ActiveFeatures, tested: Bool[Tensor, " n"], generator: torch.Generator, nearest: int = 5
) -> Int[Tensor, " k"]:
    """For each tested feature another active one of the same layer and position, near in activation, none twice.

    One of the `nearest` untested candidates by |activation| is drawn. Fewer come back where a place runs out.
    """
    place = active.layer * (int(active.position.max()) + 1 if len(active) else 1) + active.position
    size = active.activation.abs()
    free = ~tested
    chosen = []
    for row in tested.nonzero().squeeze(1).tolist():
        candidates = ((place == place[row]) & free).nonzero().squeeze(1)
        if not len(candidates):
            continue
        distance = (size[candidates] - size[row]).abs()
        near = candidates[distance.argsort(stable=True)[:nearest]]
        pick = int(near[int(torch.randint(len(near), (1,), generator=generator))])
        free[pick] = False
        chosen.append(pick)
    return torch.tensor(chosen, dtype=torch.long, device=active.layer.device)


@dataclass(frozen=True)
class CircuitValues:
    """The target under joint edits, nats (METHOD §5, faithfulness and completeness)."""

    whole: float
    """Nothing edited: m(M)."""
    circuit: float
    """Everything but the circuit's features removed: m(C)."""
    complement: float
    """The circuit's features removed."""
    nothing: float
    """All features removed: m(∅)."""

    @property
    def faithfulness(self) -> float | None:
        """(m(C) - m(∅)) / (m(M) - m(∅)); None where removing everything changes nothing."""
        return self._fraction(self.circuit)

    @property
    def completeness(self) -> float | None:
        """The same for the complement: what is left of the behaviour without the circuit; 0 is ideal."""
        return self._fraction(self.complement)

    def _fraction(self, value: float) -> float | None:
        whole = self.whole - self.nothing
        return (value - self.nothing) / whole if abs(whole) > 1e-6 else None


def circuit_values(
    bench: Bench,
    active: ActiveFeatures,
    in_circuit: Bool[Tensor, " n"],
    removed: dict[int, Float[Tensor, "pos feature"]] | None,
    start: int,
) -> CircuitValues:
    """Measure the circuit and its complement.

    Removing is setting to zero, or, with `removed` (the features of the corrupt prompt by layer), to what they are
    there: the seed's swap-in. Positions before `start` have no features and are left alone.
    """
    everything = _all_features(bench, active, removed, start)
    inside = _membership(everything, active.take(in_circuit.nonzero().squeeze(1)))
    return CircuitValues(
        whole=bench.baseline(),
        circuit=bench.value_with(everything.take(~inside)),
        complement=bench.value_with(everything.take(inside)),
        nothing=bench.value_with(everything),
    )


def _all_features(bench: Bench, active: ActiveFeatures, removed: dict[int, Tensor] | None, start: int) -> Edits:
    """The edit that removes every feature at every position that has features."""
    if removed is None:
        return _setting(active, torch.zeros_like(active.activation))
    parts = []
    for layer, values in removed.items():
        positions, indices = torch.meshgrid(
            torch.arange(start, len(bench.tokens)), torch.arange(values.shape[1]), indexing="ij"
        )
        position, index = positions.flatten().to(values.device), indices.flatten().to(values.device)
        here = ActiveFeatures(torch.full_like(index, layer), position, index, values[position, index])
        parts.append(_setting(here, here.activation))
    return Edits.join(parts)


def _membership(edits: Edits, features: ActiveFeatures) -> Bool[Tensor, " edit"]:
    """Which edits are on one of `features`."""

    def key(layer: Tensor, position: Tensor, index: Tensor) -> Tensor:
        return (layer << 48) + (position << 32) + index

    return torch.isin(
        key(edits.layer, edits.position, edits.index), key(features.layer, features.position, features.index)
    )


def rows_of(active: ActiveFeatures, places: Sequence[tuple[int, int, int]]) -> Bool[Tensor, " n"]:
    """A mask over active features: those at the given (layer, position, index)."""
    wanted = set(places)
    columns = zip(active.layer.tolist(), active.position.tolist(), active.index.tolist(), strict=True)
    return torch.tensor([place in wanted for place in columns], dtype=torch.bool, device=active.layer.device)
