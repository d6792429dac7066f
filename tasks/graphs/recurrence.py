"""Which features come back from prompt to prompt of one behaviour, and how much more often than by chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from store.graphs import GraphRecord, NodeRecord
from tasks.graphs.raw import Ints

Place = tuple[int, int, int | None]
"""(layer, index, offset from the end of the prompt: -1 is its last token; None: wherever it is)."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class PromptFeature:
    """One kept feature of one prompt's graph, numbers in nats of that prompt's decisive target."""

    layer: int
    index: int
    position: int
    share: float
    predicted_effect: float | None


@dataclass(frozen=True)
class PromptGraph:
    """What recurrence needs of one prompt's graph."""

    name: str
    n_positions: int
    features: Sequence[PromptFeature]
    """The kept ones."""
    active: Ints
    """[active, 3]: (layer, index, position) of every active feature, kept or not: what chance may choose from."""


def prompt_graph(name: str, record: GraphRecord, nodes: Sequence[NodeRecord], path: Path) -> PromptGraph:
    """The prompt graph of a stored graph: its kept nodes, and its file at `path`."""
    arrays = load_file(path)
    return PromptGraph(
        name=name,
        n_positions=len(record.token_ids),
        features=[
            PromptFeature(node.layer, node.feature, node.position, node.share, node.predicted_effect)
            for node in nodes
            if node.kind == "feature"
        ],
        active=np.stack([arrays[f"active_{column}"] for column in ("layer", "index", "position")], axis=1),
    )


@dataclass(frozen=True)
class RecurringFeature:
    """A feature that some of the prompts kept."""

    place: Place
    n_prompts: int
    """How many prompts kept it."""
    frequency: float
    """The part of the prompts that kept it."""
    expected_frequency: float
    """What chance gives: see `Agreement`."""
    mean_share: float
    """Its share as a part of Σ|share| of the prompt's kept features, signed; mean over the prompts that kept it."""
    mean_share_nats: float
    mean_predicted_effect: float | None
    """As `mean_share`, of predicted effects; None if a prompt that kept it has none."""
    mean_predicted_effect_nats: float | None

    @property
    def name(self) -> str:
        """`L12/345`, or with its offset from the end `L12/345@-1`."""
        layer, index, offset = self.place
        return f"L{layer}/{index}" + ("" if offset is None else f"@{offset}")

    def document(self) -> dict[str, Any]:
        """Everything it says, as JSON."""
        layer, index, offset = self.place
        return {
            "feature": self.name,
            "layer": layer,
            "index": index,
            "offset": offset,
            "prompts": self.n_prompts,
            "frequency": self.frequency,
            "expected_frequency": self.expected_frequency,
            "mean_share": self.mean_share,
            "mean_share_nats": self.mean_share_nats,
            "mean_predicted_effect": self.mean_predicted_effect,
            "mean_predicted_effect_nats": self.mean_predicted_effect_nats,
        }


@dataclass(frozen=True)
class Agreement:
    """How far the prompts' sets of kept features agree, by one way of telling features apart.

    Chance is: each prompt draws as many features of each layer as it kept, uniformly and independently, from those
    that are active in it.
    """

    features: tuple[RecurringFeature, ...]
    """All that any prompt kept, most frequent first, then by |mean share|."""
    overlap: Matrix
    """[prompt, prompt]: |A ∩ B| of the kept sets."""
    expected_overlap: Matrix
    """[prompt, prompt]: its expectation by chance; on the diagonal the size of each set."""
    jaccard: Matrix
    """[prompt, prompt]: |A ∩ B| / |A ∪ B|; 1 on the diagonal, 0 of two empty sets."""

    @property
    def mean_jaccard(self) -> float | None:
        """Over the pairs of different prompts; None of a single one."""
        return _mean_of_pairs(self.jaccard)

    @property
    def expected_jaccard(self) -> float | None:
        """The mean over pairs of what the expected overlap makes of the Jaccard index."""
        size = self.overlap.diagonal()
        union = size[:, None] + size[None] - self.expected_overlap
        return _mean_of_pairs(self.expected_overlap / np.maximum(union, 1e-30))

    def document(self, at_least: int) -> dict[str, Any]:
        """As JSON; only the features that at least so many prompts kept."""
        return {
            "n_features": len(self.features),
            "mean_jaccard": self.mean_jaccard,
            "expected_jaccard": self.expected_jaccard,
            "mean_overlap": _mean_of_pairs(self.overlap),
            "expected_overlap": _mean_of_pairs(self.expected_overlap),
            "jaccard": self.jaccard.tolist(),
            "features": [feature.document() for feature in self.features if feature.n_prompts >= at_least],
        }


@dataclass(frozen=True)
class Recurrence:
    """What several prompts' graphs have in common."""

    prompts: tuple[str, ...]
    kept: tuple[int, ...]
    """[prompt]: how many nodes are kept features."""
    anywhere: Agreement
    """Features wherever they are; what one has at several positions is added up."""
    by_offset: Agreement
    """Features at the same offset from the end of the prompt."""

    def document(self, at_least: int = 2) -> dict[str, Any]:
        """As JSON; lists only the features that at least `at_least` prompts kept (all of a single prompt's)."""
        least = min(at_least, len(self.prompts))
        return {
            "prompts": list(self.prompts),
            "kept_features": list(self.kept),
            "listed_from_prompts": least,
            "anywhere": self.anywhere.document(least),
            "by_offset": self.by_offset.document(least),
        }


def recurrence(graphs: Sequence[PromptGraph]) -> Recurrence:
    """Compare the kept features of several prompts' graphs."""
    return Recurrence(
        prompts=tuple(graph.name for graph in graphs),
        kept=tuple(len(graph.features) for graph in graphs),
        anywhere=_agreement(graphs, aligned=False),
        by_offset=_agreement(graphs, aligned=True),
    )


def _agreement(graphs: Sequence[PromptGraph], aligned: bool) -> Agreement:
    kept = [_kept(graph, aligned) for graph in graphs]
    active = [_active(graph, aligned, kept[number]) for number, graph in enumerate(graphs)]
    chances = [_chances(places, by_layer) for places, by_layer in zip(kept, active, strict=True)]
    overlap, expected = np.zeros((len(graphs), len(graphs))), np.zeros((len(graphs), len(graphs)))
    for first, second in combinations(range(len(graphs)), 2):
        overlap[first, second] = overlap[second, first] = len(kept[first].keys() & kept[second].keys())
        expected[first, second] = expected[second, first] = sum(
            chance * chances[second].get(layer, 0.0) * _n_shared(active[first], active[second], layer)
            for layer, chance in chances[first].items()
        )
    sizes = [float(len(places)) for places in kept]
    np.fill_diagonal(overlap, sizes)
    np.fill_diagonal(expected, sizes)
    union = np.add.outer(sizes, sizes) - overlap
    jaccard = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    np.fill_diagonal(jaccard, 1.0)
    return Agreement(_recurring(kept, active, chances), overlap, expected, jaccard)


@dataclass
class _Numbers:
    """What one prompt says of one place, in nats and as a part of the prompt's total."""

    share: float = 0.0
    share_part: float = 0.0
    effect: float = 0.0
    effect_part: float = 0.0


def _kept(graph: PromptGraph, aligned: bool) -> dict[Place, _Numbers]:
    """The prompt's kept places; an effect that is not known is NaN."""
    effects = [np.nan if f.predicted_effect is None else f.predicted_effect for f in graph.features]
    total_share = sum(abs(feature.share) for feature in graph.features) or 1.0
    total_effect = float(np.abs(effects).sum()) or 1.0
    places: dict[Place, _Numbers] = defaultdict(_Numbers)
    for feature, effect in zip(graph.features, effects, strict=True):
        offset = feature.position - graph.n_positions if aligned else None
        numbers = places[feature.layer, feature.index, offset]
        numbers.share += feature.share
        numbers.share_part += feature.share / total_share
        numbers.effect += effect
        numbers.effect_part += effect / total_effect
    return dict(places)


def _active(graph: PromptGraph, aligned: bool, kept: dict[Place, _Numbers]) -> dict[int, Ints]:
    """Layer -> sorted codes of the places that are active there, the kept ones among them."""
    layer, index, position = graph.active.reshape(-1, 3).astype(np.int64).T
    codes = _code(index, position - graph.n_positions if aligned else np.full_like(index, -1))
    every: dict[int, list[Ints]] = defaultdict(list)
    for number in np.unique(layer).tolist():
        every[number].append(codes[layer == number])
    for place in kept:
        every[place[0]].append(_code_of(place))
    return {number: np.unique(np.concatenate(parts)) for number, parts in every.items()}


def _code(index: Ints, offset: Ints) -> Ints:
    """One number for an index and an offset (negative, above -2³¹)."""
    return index.astype(np.int64) * 2**31 - offset


def _code_of(place: Place) -> Ints:
    """The code of one place, as an array of one."""
    return _code(np.array([place[1]]), np.array([-1 if place[2] is None else place[2]]))


def _holds(codes: Ints, code: Ints) -> bool:
    """Whether the sorted `codes` hold `code`."""
    return bool(np.searchsorted(codes, code, "right")[0] > np.searchsorted(codes, code)[0])


def _chances(kept: dict[Place, _Numbers], active: dict[int, Ints]) -> dict[int, float]:
    """Layer -> how probable it is that a random choice of as many holds a given active one."""
    count: dict[int, int] = defaultdict(int)
    for layer, _, _ in kept:
        count[layer] += 1
    return {layer: number / len(active[layer]) for layer, number in count.items()}


def _n_shared(first: dict[int, Ints], second: dict[int, Ints], layer: int) -> int:
    if layer not in first or layer not in second:
        return 0
    return len(np.intersect1d(first[layer], second[layer], assume_unique=True))


def _recurring(
    kept: list[dict[Place, _Numbers]], active: list[dict[int, Ints]], chances: list[dict[int, float]]
) -> tuple[RecurringFeature, ...]:
    found = [_recurring_feature(place, kept, active, chances) for place in {p: None for places in kept for p in places}]
    return tuple(sorted(found, key=lambda f: (-f.n_prompts, -abs(f.mean_share), f.place[:2], f.place[2] or 0)))


def _recurring_feature(
    place: Place, kept: list[dict[Place, _Numbers]], active: list[dict[int, Ints]], chances: list[dict[int, float]]
) -> RecurringFeature:
    numbers = [places[place] for places in kept if place in places]
    code, layer = _code_of(place), place[0]
    expected = [
        chance.get(layer, 0.0) * _holds(every[layer], code) if layer in every else 0.0
        for chance, every in zip(chances, active, strict=True)
    ]
    effects = (float(np.mean([n.effect_part for n in numbers])), float(np.mean([n.effect for n in numbers])))
    return RecurringFeature(
        place=place,
        n_prompts=len(numbers),
        frequency=len(numbers) / len(kept),
        expected_frequency=sum(expected) / len(kept),
        mean_share=float(np.mean([n.share_part for n in numbers])),
        mean_share_nats=float(np.mean([n.share for n in numbers])),
        mean_predicted_effect=None if np.isnan(effects[0]) else effects[0],
        mean_predicted_effect_nats=None if np.isnan(effects[1]) else effects[1],
    )


def _mean_of_pairs(matrix: Matrix) -> float | None:
    upper = matrix[np.triu_indices(len(matrix), 1)]
    return float(upper.mean()) if len(upper) else None
