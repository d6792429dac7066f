"""Seed §9-§11 with editing: at every layer of the set z <- Intervene(E(read)), written back in one of two spellings.

With attention frozen the patterns are another run's. Direct effects are the frozen model's derivative along what the
edits write, by automatic differentiation: with patterns, norms and MLP outputs held the model is linear in that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers
from tests.oracle.seed_model import SeedModel


@dataclass(frozen=True)
class Change:
    """z' = multiply · z + add."""

    multiply: float
    add: float


def features(seed: SeedModel, tokens: list[int], dictionaries: Layers) -> dict[int, Tensor]:
    """z of every layer in the unmodified model, [pos, feature]."""
    found: dict[int, Tensor] = {}

    def mlp(layer: int, u: Tensor) -> Tensor:
        h = seed.hidden(layer, u)
        if layer in dictionaries:
            found[layer] = dictionaries[layer].encode(h if dictionaries[layer].on_hidden else u)
        return seed.down(layer, h)

    seed.logits(seed.embed(tokens), mlp)
    return found


class HeldSeed(SeedModel):
    """The seed's model with the attention patterns of one prompt, whatever runs through it."""

    def __init__(self, hf: PreTrainedModel, tokens: list[int]) -> None:
        """Run the prompt once to have its patterns."""
        super().__init__(hf)
        self.patterns: dict[int, Tensor] = {}
        self.logits(self.embed(tokens))

    def pattern(self, layer: int, live: Tensor) -> Tensor:
        """The first run's, in the rows of its prompt."""
        first = self.patterns.setdefault(layer, live)
        n = first.shape[-1]
        pattern = live.clone()
        pattern[:, :n, :n] = first
        return pattern


@dataclass(frozen=True)
class Outcome:
    """An edited run."""

    logits: Tensor
    """[pos, vocab], after a soft cap."""
    pre_activations: dict[int, Tensor]
    """Per layer with a dictionary, [pos, feature]."""


def intervened(
    seed: SeedModel, tokens: list[int], dictionaries: Layers, changes: Mapping[Place, Change], spelling: str
) -> Outcome:
    """The edited run. `replace`: D(z') in every layer of the set; `delta`: + D(z') - D(z)."""
    seen: dict[int, Tensor] = {}

    def mlp(layer: int, u: Tensor) -> Tensor:
        h = seed.hidden(layer, u)
        dictionary = dictionaries.get(layer)
        if dictionary is None:
            return seed.down(layer, h)
        read, real = (h, h) if dictionary.on_hidden else (u, seed.down(layer, h))
        seen[layer] = dictionary.pre_activation(read)
        z = dictionary.encode(read)
        edited = _edited(z, layer, changes)
        if spelling == "replace":
            written = dictionary.decode(edited) + dictionary.bypass(read)
        else:
            written = real + dictionary.decode(edited) - dictionary.decode(z)
        return seed.down(layer, written) if dictionary.on_hidden else written

    with torch.no_grad():
        return Outcome(seed.capped(seed.logits(seed.embed(tokens), mlp)), seen)


def direct_outcome(
    seed: SeedModel, tokens: list[int], dictionaries: Layers, changes: Mapping[Place, Change]
) -> Outcome:
    """Patterns, norm denominators and MLP outputs held; a linear bypass is live, and so are the neurons that a
    dictionary on h reads, in its own layer alone."""
    writes = {layer: torch.zeros(len(tokens), seed.embed(tokens).shape[1]).double() for layer in range(seed.n_layers)}
    before: dict[int, Tensor] = {}

    def run(*added: Tensor) -> tuple[Tensor, ...]:
        inputs: list[Tensor] = []

        def mlp(layer: int, u: Tensor) -> Tensor:
            inputs.append(u)
            dictionary, out = dictionaries.get(layer), seed.mlp(layer, u)
            before[layer] = u.detach()
            bypass = 0.0 if dictionary is None or dictionary.on_hidden else dictionary.bypass(u - u.detach())
            return out.detach() + bypass + added[layer]

        return (seed.logits(seed.embed(tokens), mlp, frozen=True), *inputs)

    logits, *_ = run(*writes.values())
    for layer, dictionary in dictionaries.items():
        u = before[layer]
        z = dictionary.encode(seed.hidden(layer, u) if dictionary.on_hidden else u)
        moved = dictionary.decode(_edited(z, layer, changes)) - dictionary.decode(z)
        writes[layer] = moved @ seed.down_weight(layer).T if dictionary.on_hidden else moved
    zeros = tuple(torch.zeros_like(each) for each in writes.values())
    _, (of_logits, *of_inputs) = torch.autograd.functional.jvp(run, zeros, tuple(writes.values()))
    pre_activations = {}
    for layer, dictionary in dictionaries.items():
        u = before[layer] + of_inputs[layer]
        pre_activations[layer] = dictionary.pre_activation(seed.hidden(layer, u) if dictionary.on_hidden else u)
    return Outcome(seed.capped(logits.detach() + of_logits), pre_activations)


def intervened_logits(
    seed: SeedModel, tokens: list[int], dictionaries: Layers, changes: Mapping[Place, Change], spelling: str
) -> Tensor:
    """The edited model's logits, [pos, vocab]."""
    return intervened(seed, tokens, dictionaries, changes, spelling).logits


def _edited(z: Tensor, layer: int, changes: Mapping[Place, Change]) -> Tensor:
    edited = z.clone()
    for (at_layer, position, index), change in changes.items():
        if at_layer == layer:
            edited[position, index] = change.multiply * z[position, index] + change.add
    return edited
