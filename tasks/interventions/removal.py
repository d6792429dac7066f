"""Running the model with all but some of the features held at given values: circuits and their complements (METHOD §5).

A removed feature is held at its value in the corrupt prompt, at its mean by position, or at zero; what the dictionaries
miss stays what it is in the run (`delta`).
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tasks.circuits.effect import target_values
from tasks.circuits.frozen import freeze
from tasks.circuits.nodes import ActiveFeatures
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.splice import Splice
from tasks.interventions.request import activations
from tasks.interventions.validation import Bench
from tasks.model.language_model import LanguageModel
from tasks.model.smaller_batches import in_smaller_batches, split

MOST_PLACES = 2**27
"""Places (row, position, feature) that are marked at once, one byte each."""

FeatureValues = Mapping[int, Float[Tensor, "pos feature"]]
"""Per layer: the value of every feature at every position of one prompt."""


class Removal(StrEnum):
    """What a removed feature becomes."""

    ZERO = "zero"
    CORRUPT = "corrupt"
    """Its value in a corrupt prompt of equal length."""
    MEAN = "mean"
    """Its mean at that position over other prompts of equal length."""


def feature_values(model: LanguageModel, dictionaries: DictionarySet, tokens: Sequence[int]) -> FeatureValues:
    """The features of one prompt in the unmodified model."""
    return activations(dictionaries, freeze(model, tokens))


def mean_values(
    model: LanguageModel, dictionaries: DictionarySet, prompts: Sequence[Sequence[int]]
) -> dict[int, Float[Tensor, "pos feature"]]:
    """The mean of every feature at every position over prompts of one length."""
    total: dict[int, Tensor] = {}
    for tokens in prompts:
        for layer, values in feature_values(model, dictionaries, tokens).items():
            total[layer] = total[layer] + values if layer in total else values
    return {layer: values / len(prompts) for layer, values in total.items()}


def zero_values(dictionaries: DictionarySet, n_positions: int, device: torch.device) -> dict[int, Tensor]:
    """Zero for every feature."""
    return {
        layer: torch.zeros(1, dictionary.n_features, device=device).expand(n_positions, -1)
        for layer, dictionary in dictionaries.layers.items()
    }


def clamped(
    dictionary: Dictionary, free: Bool[Tensor, "#row pos feature"], value: Float[Tensor, "#row pos feature"]
) -> Splice:
    """A splice that holds features at `value` but for those that are `free`: h' = h + D(z') - D(z)."""

    def change(read: Tensor, write: Tensor) -> Tensor:
        z = dictionary.encode(read.float())
        moved = torch.where(free, torch.zeros_like(z), value - z)
        return write + (dictionary.decode(moved) - dictionary.write_bias).to(write.dtype)

    return Splice(dictionary.layer, dictionary.reads, dictionary.writes, change)


def values_keeping(
    bench: Bench,
    active: ActiveFeatures,
    kept: Bool[Tensor, "row n"],
    others_kept: Bool[Tensor, " row"],
    removed: FeatureValues,
    start: int,
) -> Float[Tensor, " row"]:
    """The target with all features removed but, per row, those of `active` that `kept` marks.

    Features that are not among `active` stay live in the rows of `others_kept` and are removed in the others. Positions
    before `start` have no features and are left alone.
    """
    n_places = len(bench.tokens) * sum(each.n_features for each in bench.dictionaries.layers.values())
    batch = min(max(MOST_PLACES // n_places, 1), bench.batch)

    def values(rows: range) -> Tensor:
        here = slice(rows.start, rows.stop)
        splices = [
            clamped(
                dictionary,
                _free(dictionary, active, kept[here], others_kept[here], len(bench.tokens), start),
                removed[layer][None],
            )
            for layer, dictionary in bench.dictionaries.layers.items()
        ]
        prompts = bench.model.token_tensor(bench.tokens).expand(len(rows), -1)
        with torch.no_grad():
            return target_values(bench.model, prompts, bench.dictionaries, splices, bench.target)

    results = [torch.empty(0, device=bench.model.device)]
    results += [found for _, found in in_smaller_batches(split(range(len(kept)), batch), values)]
    return torch.cat(results)


def _free(
    dictionary: Dictionary, active: ActiveFeatures, kept: Tensor, others_kept: Tensor, n_positions: int, start: int
) -> Bool[Tensor, "row pos feature"]:
    """Which places of one layer are left alone in each row."""
    here = (active.layer == dictionary.layer).nonzero().squeeze(1)
    free = others_kept[:, None, None].repeat(1, n_positions, dictionary.n_features)
    free[:, active.position[here], active.index[here]] = kept[:, here]
    free[:, :start] = True
    return free
