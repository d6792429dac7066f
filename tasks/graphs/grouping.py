"""Groups of a graph's features that are found by themselves: features that write alike and have the same neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.supernodes import LONGEST_NAME
from tasks.graphs.view import GraphView, NodeView

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class FoundGroup:
    """A group that was found, and how alike its members are."""

    name: str
    nodes: tuple[int, ...]
    affinity: float
    """Mean over its pairs, between 0 and 1."""


def find_groups(
    view: GraphView,
    features: Sequence[int],
    similarity: Matrix,
    at_least: float,
    taken_names: Iterable[str] = (),
) -> list[FoundGroup]:
    """Groups among `features` (nodes) by average linkage: two groups merge while their mean affinity is `at_least` so.

    The affinity of two features is the mean of the cosine of what they write into the residual stream (`similarity`
    [feature, feature]) and that of their neighbours: the cosine of their in- and out-edges' shares; neither below zero.
    """
    affinity = (np.maximum(similarity, 0) + np.maximum(_neighbour_similarity(view, features), 0)) / 2
    found = [sorted(group) for group in _average_linkage(affinity, at_least) if len(group) > 1]
    names = set(taken_names)
    groups = []
    for group in sorted(found):
        name = _free_name(_common_words([view.nodes[features[each]] for each in group]), names)
        pairs = affinity[np.ix_(group, group)][np.triu_indices(len(group), 1)]
        groups.append(FoundGroup(name, tuple(features[each] for each in group), float(pairs.mean())))
    return groups


def _neighbour_similarity(view: GraphView, features: Sequence[int]) -> Matrix:
    """[feature, feature]: the cosine of in-edge shares beside that of out-edge shares, each half of it."""
    row = {node: number for number, node in enumerate(features)}
    column = {node: number for number, node in enumerate(view.nodes)}
    total = np.zeros((len(features), len(features)))
    for mine, other in (("target", "source"), ("source", "target")):
        profile = np.zeros((len(features), len(column)))
        for edge in view.edges:
            if (node := getattr(edge, mine)) in row:
                profile[row[node], column[getattr(edge, other)]] = edge.share
        length = np.linalg.norm(profile, axis=1, keepdims=True)
        unit = np.divide(profile, length, out=np.zeros_like(profile), where=length > 0)
        total += unit @ unit.T / 2
    return total


def _average_linkage(affinity: Matrix, at_least: float) -> list[list[int]]:
    """Groups of rows: the two with the highest mean affinity merge until none reaches `at_least`; ties by number."""
    mean: Any = affinity.astype(np.float64, copy=True)
    np.fill_diagonal(mean, -np.inf)
    groups = {number: [number] for number in range(len(mean))}
    while len(groups) > 1:
        first, second = divmod(int(mean.argmax()), len(mean))
        if mean[first, second] < at_least:
            break
        sizes = len(groups[first]), len(groups[second])
        merged = (sizes[0] * mean[first] + sizes[1] * mean[second]) / sum(sizes)
        mean[first], mean[:, first] = merged, merged
        mean[second], mean[:, second], mean[first, first] = -np.inf, -np.inf, -np.inf
        groups[first] += groups.pop(second)
    return list(groups.values())


def _common_words(members: Sequence[NodeView]) -> str:
    """A label that most members share, or the two tokens that most of them promote or fire on; with their layers."""
    layers = sorted({member.layer for member in members})
    where = f"L{layers[0]}" if len(layers) == 1 else f"L{layers[0]}-{layers[-1]}"
    labels = Counter(member.label for member in members if member.label)
    if labels and labels.most_common(1)[0][1] * 2 > len(members):
        return f"{labels.most_common(1)[0][0]} {where}"[:LONGEST_NAME]
    words: Counter[str] = Counter()
    for member in members:
        words.update({token.strip() for token in (*member.fires_on[:4], *member.promoted[:4])})
    ranked = sorted((-count, word) for word, count in words.items() if word and word.isprintable())
    return " ".join([*(word for _, word in ranked[:2]), where])[:LONGEST_NAME]


def _free_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken; it is taken from now on."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    taken.add(free)
    return free
