"""A dictionary for each of some layers; the other layers are passed through (METHOD §2)."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.dictionaries.neurons import Neurons
from tasks.dictionaries.protocol import Dictionary
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class DictionarySet:
    """The dictionaries that a graph, an evaluation or an intervention works with."""

    name: str
    """`neurons`, or the name under which the store keeps the set."""
    layers: Mapping[int, Dictionary]
    """Layer -> its dictionary. Layers that are missing have none."""

    def __contains__(self, layer: int) -> bool:
        return layer in self.layers

    def __getitem__(self, layer: int) -> Dictionary:
        return self.layers[layer]


def neuron_set(model: LanguageModel, layers: list[int] | None = None) -> DictionarySet:
    """Neurons of the given layers, or of all."""
    chosen = range(model.n_layers) if layers is None else layers
    return DictionarySet(
        "neurons", {layer: Neurons(layer, model.d_mlp, model.device, model.dtype) for layer in chosen}
    )
