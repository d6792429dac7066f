"""What the real model does when the features of a graph are removed, swapped, or left alone (METHOD §5).

Effects have the sign of a prediction: baseline - edited, in nats of the target. Δlogit is minus that.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.circuits.effect import target_values
from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.targets import Target
from tasks.context import Stage
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.interventions.edits import Edits
from tasks.interventions.intervene import edit_splices, measure_each
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
        rows = [setting(features.take(torch.tensor([i])), activation[i : i + 1]) for i in range(len(features))]
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


def setting(features: ActiveFeatures, activation: Float[Tensor, " n"]) -> Edits:
    """The joint edit of one row that sets each feature to its entry of `activation`."""
    zeros = torch.zeros_like(features.layer)
    return Edits(zeros, features.layer, features.position, features.index, torch.zeros_like(activation), activation)


def ablations(features: ActiveFeatures) -> Edits:
    """The joint edit of one row that sets every feature to zero."""
    return setting(features, torch.zeros_like(features.activation))


def matched_controls(
    active: ActiveFeatures,
    tested: Bool[Tensor, " n"],
    generator: torch.Generator,
    nearest: int = 5,
    never: Bool[Tensor, " n"] | None = None,
) -> Int[Tensor, " k"]:
    """For each tested feature another active one of the same layer and position, near in activation, none twice.

    One of the `nearest` candidates by |activation| is drawn among those neither tested nor in `never`. Fewer come back
    where a place runs out.
    """
    place = active.layer * (int(active.position.max()) + 1 if len(active) else 1) + active.position
    size = active.activation.abs()
    free = ~tested if never is None else ~(tested | never)
    order = place.argsort(stable=True)
    rows = tested.nonzero().squeeze(1)
    starts, ends = (torch.searchsorted(place[order], place[rows], right=right).tolist() for right in (False, True))
    chosen = []
    for row, start, end in zip(rows.tolist(), starts, ends, strict=True):
        there = order[start:end]
        candidates = there[free[there]]
        if not len(candidates):
            continue
        distance = (size[candidates] - size[row]).abs()
        near = candidates[distance.argsort(stable=True)[:nearest]]
        pick = int(near[int(torch.randint(len(near), (1,), generator=generator))])
        free[pick] = False
        chosen.append(pick)
    return torch.tensor(chosen, dtype=torch.long, device=active.layer.device)


def rows_at(active: ActiveFeatures, places: Int[Tensor, "place 3"]) -> Bool[Tensor, " n"]:
    """A mask over active features: those at the given (layer, position, index)."""
    codes = torch.zeros(len(active), dtype=torch.long, device=active.layer.device)
    wanted = codes.new_zeros(len(places))
    for column, asked in zip((active.layer, active.position, active.index), places.unbind(1), strict=True):
        n = 1 + max((int(each.max()) for each in (column, asked) if len(each)), default=0)
        codes, wanted = codes * n + column, wanted * n + asked
    return torch.isin(codes, wanted)
