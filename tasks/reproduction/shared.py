"""The hypothesis that one concept has the same features in every group (language), beside shuffled concepts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from math import factorial, prod
from statistics import fmean

from tasks.reproduction.verdict import Tested, shared_outcome, untested

UNIT = "mean Jaccard index, same concept less different concept"
MOST_SHUFFLES = 2000
FEWEST = 2
LISTED = 20
"""Shuffles whose number is kept, the best ones."""
Features = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Member:
    """One pair's kept features (layer, index), wherever they are, and what it is of."""

    group: str
    concept: str
    features: Features


def run_shared(members: Sequence[Member], seed: int) -> Tested:
    """Do pairs of one concept in different groups share more kept features than pairs of different concepts do?

    The control shuffles which concept is which within each group; p is the part of shuffles (the true one among them)
    that do as well.
    """
    usable = _comparable(members)
    groups = sorted({member.group for member in usable})
    if len(groups) < FEWEST:
        return untested(
            f"it takes two groups with two concepts in common that the model does, and there are {len(groups)}", UNIT
        )
    same, different = _overlaps(usable)
    difference = same - different
    shuffled = [first - second for first, second in map(_overlaps, _shuffles(usable, groups, seed))]
    p = sum(value >= difference - 1e-12 for value in shuffled) / len(shuffled)
    because = (
        f"pairs of one concept in different groups share {same:.3f} of their features, of different concepts "
        f"{different:.3f}; {p:.2f} of {len(shuffled)} shuffles do as well"
    )
    evidence = {"same": same, "different": different, "p": p, "groups": groups, "shuffles": len(shuffled),
                "pairs": len(usable)}  # fmt: skip
    controls = tuple(sorted(shuffled, reverse=True)[:LISTED])
    return Tested(shared_outcome(difference, p), because, difference, controls, UNIT, evidence)


def _comparable(members: Sequence[Member]) -> list[Member]:
    """The members of groups that have two concepts which another such group has."""
    kept = list(members)
    while True:
        by_concept: dict[str, set[str]] = {}
        for member in kept:
            by_concept.setdefault(member.concept, set()).add(member.group)
        shared = {concept for concept, groups in by_concept.items() if len(groups) >= FEWEST}
        concepts: dict[str, set[str]] = {}
        for member in kept:
            if member.concept in shared:
                concepts.setdefault(member.group, set()).add(member.concept)
        good = {group for group, found in concepts.items() if len(found) >= FEWEST}
        left = [member for member in kept if member.group in good and member.concept in shared]
        if len(left) == len(kept):
            return left
        kept = left


def _overlaps(members: Sequence[Member]) -> tuple[float, float]:
    """(mean Jaccard index of couples of one concept, of couples of different concepts), all between groups."""
    same: list[float] = []
    different: list[float] = []
    for first, second in combinations(members, 2):
        if first.group != second.group:
            (same if first.concept == second.concept else different).append(jaccard(first.features, second.features))
    return fmean(same), fmean(different)


def jaccard(first: Features, second: Features) -> float:
    """|A ∩ B| / |A ∪ B|; 0 of two empty sets."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


def _shuffles(members: Sequence[Member], groups: Sequence[str], seed: int) -> Iterator[list[Member]]:
    """The members with concepts permuted within each group: every way if they are few, else drawn ones."""
    parts = [[member for member in members if member.group == group] for group in groups]
    if prod(factorial(len(part)) for part in parts) <= MOST_SHUFFLES:
        ways = product(*(permutations([member.concept for member in part]) for part in parts))
        yield from (_relabelled(parts, way) for way in ways)
        return
    generator = random.Random(seed)
    yield list(members)
    for _ in range(MOST_SHUFFLES - 1):
        yield _relabelled(parts, [generator.sample([m.concept for m in part], len(part)) for part in parts])


def _relabelled(parts: Sequence[Sequence[Member]], concepts: Sequence[Sequence[str]]) -> list[Member]:
    return [
        Member(member.group, concept, member.features)
        for part, names in zip(parts, concepts, strict=True)
        for member, concept in zip(part, names, strict=True)
    ]
