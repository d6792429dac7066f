"""The hypothesis that features which recur over the pairs do the work: removed on pairs that did not pick them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tasks.behaviours import Hypothesis, Where
from tasks.graphs.recurrence import Place, PromptGraph, recurrence
from tasks.reproduction.pair_bench import PairBench
from tasks.reproduction.verdict import Outcome, Tested, common_outcome, untested

if TYPE_CHECKING:
    from torch import Tensor

UNIT = "nats of log p(decisive) lost on held-out prompts"
FEWEST_FOUND_ON = 2
RECURS = 0.5
"""Part of the found-on pairs that must have kept a feature."""
LISTED = 20


@dataclass(frozen=True)
class Removed:
    """What a removal did in one held-out pair."""

    bench: PairBench
    n_features: int
    before: float
    """log p(decisive), nats."""
    after: float
    controls: list[float]

    @property
    def lost(self) -> float:
        """Nats."""
        return self.before - self.after

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "prompt": self.bench.pair.clean,
            "decisive": self.bench.pair.decisive,
            "graph": self.bench.made.record.id,
            "features": self.n_features,
            "log_probability": self.before,
            "log_probability_without": self.after,
            "controls_lost": [self.before - value for value in self.controls],
        }


def run_common(
    hypothesis: Hypothesis,
    benches: Sequence[PairBench],
    graphs: Sequence[PromptGraph],
    draws: int,
    seed: int,
    advance: Callable[[float], None],
) -> Tested:
    """Pick what recurs on half of the pairs, remove it on the others, beside features matched in place and size."""
    order = random.Random(seed).sample(range(len(benches)), len(benches))
    n_found_on = max(FEWEST_FOUND_ON, -(-len(benches) // 2))
    held_out = order[n_found_on:]
    if not held_out:
        return untested(f"it takes {FEWEST_FOUND_ON + 1} pairs that the model does, and there are {len(benches)}", UNIT)
    places = recurring_places(hypothesis, benches, [graphs[number] for number in order[:n_found_on]])
    found = []
    for number in held_out:
        found.append(_removed(benches[number], places, draws, seed))
        advance(1)
    return _judged(found, places, n_found_on)


def recurring_places(
    hypothesis: Hypothesis, benches: Sequence[PairBench], found_on: Sequence[PromptGraph]
) -> list[Place]:
    """What enough of the graphs kept at one offset from the end, in the window's layers (`last`: at the last token)."""
    layers = benches[0].window(hypothesis).layers
    return [
        feature.place
        for feature in recurrence(found_on).by_offset.features
        if feature.n_prompts >= FEWEST_FOUND_ON
        and feature.frequency >= RECURS
        and feature.place[0] in layers
        and (hypothesis.where is not Where.LAST or feature.place[2] == -1)
    ]


def _judged(found: Sequence[Removed], places: Sequence[Place], n_found_on: int) -> Tested:
    lost = fmean(each.lost for each in found)
    n_draws = min(len(each.controls) for each in found)
    controls = [fmean(each.before - each.controls[draw] for each in found) for draw in range(n_draws)]
    names = [f"L{layer}/{index}@{offset}" for layer, index, offset in places]
    evidence = {"lost": lost, "found_on": n_found_on, "recurring": len(places), "features": names[:LISTED],
                "pairs": [each.document() for each in found]}  # fmt: skip
    if not places:
        because = f"no feature recurs over {n_found_on} pairs"
        return Tested(Outcome.NOT_SUPPORTED, because, lost, tuple(controls), UNIT, evidence)
    because = (
        f"{len(places)} features recur over {n_found_on} pairs; without them {len(found)} others lose {lost:.2f} nats "
        f"of the answer, at most {max(controls, default=0.0):.2f} without as many others"
    )
    return Tested(common_outcome(lost, controls), because, lost, tuple(controls), UNIT, evidence)


def _removed(bench: PairBench, places: Sequence[Place], draws: int, seed: int) -> Removed:
    """log p(decisive) of a pair's clean prompt: whole, without the places, without matched others."""
    import torch

    from tasks.interventions.edits import Edits
    from tasks.interventions.intervene import edited_logits
    from tasks.interventions.validation import ablations, matched_controls, rows_at

    made, features = bench.made.bench, bench.made.claims.features
    n = len(made.tokens)
    there = [(layer, n + int(offset or 0), index) for layer, index, offset in places]
    mask = rows_at(features, torch.tensor(there, dtype=torch.long, device=features.layer.device).view(-1, 3))
    chosen = mask.nonzero().flatten()
    generators = (torch.Generator().manual_seed(seed * 1000 + draw) for draw in range(draws))
    sets = [chosen[:0], chosen, *(matched_controls(features, mask, each) for each in generators)]
    edits = [ablations(features.take(rows)).at_row(row) for row, rows in enumerate(sets)]
    logits = edited_logits(made.model, made.tokens, made.dictionaries, Edits.join(edits), len(sets))
    before, after, *controls = _log_probabilities(bench, logits)
    return Removed(bench, len(chosen), before, after, controls)


def _log_probabilities(bench: PairBench, logits: Tensor) -> list[float]:
    """log p of the decisive token in each row."""
    from tasks.circuits.targets import LogitTarget

    target = bench.made.bench.target
    if not isinstance(target, LogitTarget):
        raise TypeError("a pair's graph explains a logit")
    found: list[float] = logits[:, target.position].log_softmax(-1)[:, target.token].tolist()
    return found
