"""The hypothesis that a concept lies between question and answer: its own name's features are swapped.

The concept's name stands at the end of another text, the probe. Features that it evokes there, and the rival concept's
name does not, are what the concept is taken to be; what they do in the prompt was not used to choose them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tasks.behaviours import Hypothesis
from tasks.reproduction.pair_bench import Candidates, PairBench
from tasks.reproduction.swap import judged, measure_swap
from tasks.reproduction.verdict import Tested

if TYPE_CHECKING:
    from torch import Tensor

OTHERS = 3
"""Other pairs' concepts that each pair is compared with, at the most."""


def run_concept(
    hypothesis: Hypothesis,
    benches: Sequence[PairBench],
    draws: int,
    seed: int,
    advance: Callable[[float], None],
    n_features: int,
) -> Tested:
    """Swap the `n_features` that tell the concept's name from its rival's most, and those of other pairs' concepts."""
    evoked = [concept_features(bench, hypothesis, n_features) for bench in benches]
    found = []
    for number, bench in enumerate(benches):
        candidates = bench.candidates(bench.window(hypothesis))
        own = evoked[number]
        others = [
            _holding(candidates, _without(evoked[other], own))
            for other in range(len(benches))
            if not _same_concepts(benches[other], bench)
        ]
        found.append(measure_swap(bench, candidates, _holding(candidates, own), draws, seed, others[:OTHERS]))
        advance(1)
    return judged(found)


def concept_features(bench: PairBench, hypothesis: Hypothesis, count: int) -> Tensor:
    """[n, 2]: (layer, index) of the features whose write at the probe's last token differs most between concepts."""
    import torch

    from tasks.circuits.frozen import freeze
    from tasks.circuits.nodes import ActiveFeatures
    from tasks.interventions.request import activations
    from tasks.interventions.write_size import write_sizes

    made, pair = bench.made.bench, bench.pair
    window = bench.window(hypothesis)
    dictionaries = made.dictionaries.only([each for each in window.layers if each in made.dictionaries])
    if not dictionaries.layers:
        return torch.empty(0, 2, dtype=torch.long, device=made.model.device)
    names = (str(pair.concept), str(pair.rival_concept))
    runs = [freeze(made.model, made.model.tokenize(hypothesis.probe.format(name))) for name in names]
    own, rival = (activations(dictionaries, run) for run in runs)
    parts = []
    for layer in sorted(dictionaries.layers):
        contrast = own[layer][-1].float() - rival[layer][-1].float()
        index = contrast.nonzero().flatten()
        last = torch.full_like(index, runs[0].n_positions - 1)
        parts.append((torch.full_like(index, layer), last, index, contrast[index]))
    features = ActiveFeatures(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    sizes = write_sizes(made.model, runs[0], dictionaries, features)
    strongest = sizes.argsort(descending=True, stable=True)[:count]
    return torch.stack([features.layer[strongest], features.index[strongest]], dim=1)


def _same_concepts(first: PairBench, second: PairBench) -> bool:
    """Whether two pairs have a concept in common, so that neither is a control of the other."""
    mine = {first.pair.concept, first.pair.rival_concept}
    return bool(mine & {second.pair.concept, second.pair.rival_concept})


def _codes(layer: Tensor, index: Tensor) -> Tensor:
    return layer * 2**40 + index


def _without(features: Tensor, left_out: Tensor) -> Tensor:
    """The (layer, index) rows that are not among others."""
    import torch

    return features[~torch.isin(_codes(*features.T), _codes(*left_out.T))]


def _holding(candidates: Candidates, features: Tensor) -> Tensor:
    """A mask over candidates: those of the given (layer, index), wherever they are in the window."""
    import torch

    return torch.isin(_codes(candidates.features.layer, candidates.features.index), _codes(*features.T))
