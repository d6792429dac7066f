"""Seed §9-§11 with editing: at every layer of the set z <- Intervene(E(read)), written back in one of two spellings."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

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


def intervened_logits(
    seed: SeedModel, tokens: list[int], dictionaries: Layers, changes: Mapping[Place, Change], spelling: str
) -> Tensor:
    """The model's logits, [pos, vocab]. `replace`: D(z') in every layer of the set; `delta`: + D(z') - D(z)."""

    def mlp(layer: int, u: Tensor) -> Tensor:
        h = seed.hidden(layer, u)
        dictionary = dictionaries.get(layer)
        if dictionary is None:
            return seed.down(layer, h)
        read, real = (h, h) if dictionary.on_hidden else (u, seed.down(layer, h))
        z = dictionary.encode(read)
        edited = z.clone()
        for (at_layer, position, index), change in changes.items():
            if at_layer == layer:
                edited[position, index] = change.multiply * z[position, index] + change.add
        if spelling == "replace":
            written = dictionary.decode(edited) + dictionary.bypass(read)
        else:
            written = real + dictionary.decode(edited) - dictionary.decode(z)
        return seed.down(layer, written) if dictionary.on_hidden else written

    with torch.no_grad():
        return seed.capped(seed.logits(seed.embed(tokens), mlp))
