"""A dictionary for each of some layers; the other layers are passed through (METHOD §2)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from store.errors import BadInput
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
    notes: tuple[str, ...] = ()
    """What the person should hear about the set, one sentence each."""

    def __contains__(self, layer: int) -> bool:
        return layer in self.layers

    def only(self, layers: Collection[int]) -> "DictionarySet":
        """The same set without the other layers; `BadInput` if one of `layers` has no dictionary."""
        missing = sorted(set(layers) - set(self.layers))
        if missing:
            known = ", ".join(str(layer) for layer in sorted(self.layers))
            raise BadInput(f"layer {missing[0]} has no dictionary in {self.name!r}", f"its layers are {known}")
        return DictionarySet(self.name, {layer: self.layers[layer] for layer in sorted(layers)}, self.notes)

    def __getitem__(self, layer: int) -> Dictionary:
        return self.layers[layer]


def neuron_set(model: LanguageModel, layers: list[int] | None = None) -> DictionarySet:
    """Neurons of the given layers, or of all."""
    chosen = range(model.n_layers) if layers is None else layers
    return DictionarySet("neurons", {layer: Neurons(layer, model.d_mlp, model.device) for layer in chosen})
