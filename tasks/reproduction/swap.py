"""The hypothesis that the graph's features in a window decide the answer: they get the corrupt prompt's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tasks.behaviours import Hypothesis
from tasks.reproduction.pair_bench import Candidates, PairBench, Window
from tasks.reproduction.verdict import Outcome, Tested, swap_outcome, untested

if TYPE_CHECKING:
    from torch import Tensor

UNIT = "of the way from the clean to the corrupt logit difference"


@dataclass(frozen=True)
class Swapped:
    """What a swap did in one pair."""

    bench: PairBench
    n_features: int
    n_window: int
    """How many features of the window are active in one of the prompts."""
    value: float
    """The logit difference after the swap, nats."""
    whole_window: float
    """The same with every feature of the window swapped."""
    controls: dict[str, list[float]]
    """By kind of control: the logit difference of each draw."""

    @property
    def moved(self) -> float:
        """The part of the way that the swap goes."""
        return self.bench.moved(self.value)

    @property
    def flipped(self) -> bool:
        """Whether the counterfactual answer is the more probable one of the two."""
        return self.value < 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        pair = self.bench.pair
        return {
            "prompt": pair.clean,
            "corrupt": pair.corrupt,
            "decisive": pair.decisive,
            "rival": pair.rival,
            "graph": self.bench.made.record.id,
            "features": self.n_features,
            "window_features": self.n_window,
            "clean": self.bench.clean_value,
            "corrupt_logit_difference": self.bench.corrupt_value,
            "swapped": self.value,
            "moved": self.moved,
            "flipped": self.flipped,
            "whole_window_moved": self.bench.moved(self.whole_window),
            "controls_moved": {
                kind: [self.bench.moved(value) for value in values] for kind, values in self.controls.items()
            },
        }


def run_swap(
    hypothesis: Hypothesis, benches: Sequence[PairBench], draws: int, seed: int, advance: Callable[[float], None]
) -> Tested:
    """Swap what the graphs kept in the window, and as many of the corrupt prompt's strongest features there."""
    found = []
    for bench in benches:
        window = bench.window(hypothesis)
        candidates = bench.candidates(window)
        chosen = graph_features(bench, candidates, window)
        found.append(measure_swap(bench, candidates, chosen, draws, seed))
        advance(1)
    return judged(found)


def judged(found: Sequence[Swapped]) -> Tested:
    """The outcome of a swap in several pairs: every control is a mean over the pairs, as the swap is."""
    if not found:
        return untested("no pair could be swapped", UNIT)
    if not any(each.n_window for each in found):
        return untested("the dictionaries have no feature in the window", UNIT)
    moved, flipped = fmean(each.moved for each in found), fmean(each.flipped for each in found)
    controls = [*_mean_controls(found, "random"), *_mean_controls(found, "other concept")]
    outcome = swap_outcome(flipped, moved, controls)
    best = f"the best of {len(controls)} controls moves it {max(controls):.2f}" if controls else "there is no control"
    n_features, n_window = fmean(each.n_features for each in found), fmean(each.n_window for each in found)
    whole = fmean(each.bench.moved(each.whole_window) for each in found)
    because = (
        f"the counterfactual answer wins in {sum(each.flipped for each in found)} of {len(found)} pairs; "
        f"{n_features:.0f} features a pair move the logit difference {moved:.2f} of the way, {best}, "
        f"all {n_window:.0f} of the window {whole:.2f}"
    )
    if not any(each.n_features for each in found):
        outcome, because = Outcome.NOT_SUPPORTED, "no feature of the window is part of the circuit"
    evidence = {"flipped": flipped, "moved": moved, "pairs": [each.document() for each in found]}
    return Tested(outcome, because, moved, tuple(controls), UNIT, evidence)


def _mean_controls(found: Sequence[Swapped], kind: str) -> list[float]:
    """The part of the way that each draw goes, its mean over the pairs that have it."""
    moved = [[each.bench.moved(value) for value in each.controls[kind]] for each in found]
    return [
        fmean(draws[number] for draws in moved if number < len(draws))
        for number in range(max(map(len, moved), default=0))
    ]


def measure_swap(
    bench: PairBench,
    candidates: Candidates,
    chosen: Tensor,
    draws: int,
    seed: int,
    others: Sequence[Tensor] = (),
) -> Swapped:
    """Measure the swap of `chosen` (a mask), of matched random draws, and of `others` (masks: other concepts')."""
    random_rows = _random_draws(candidates, chosen, draws, seed)
    sets = [chosen.nonzero().flatten(), *random_rows, *(each.nonzero().flatten() for each in others)]
    every = chosen.new_ones(len(chosen)).nonzero().flatten()
    if not len(every):
        values = [bench.clean_value] * (len(sets) + 1)
    else:
        values = bench.values_with([candidates.swap(rows) for rows in (*sets, every)])
    random_end = 1 + len(random_rows)
    controls = {"random": values[1:random_end], "other concept": values[random_end:-1]}
    return Swapped(bench, len(sets[0]), len(every), values[0], values[-1], controls)


def _random_draws(candidates: Candidates, chosen: Tensor, draws: int, seed: int) -> list[Tensor]:
    """As many other candidates, matched in layer, position and size of change, drawn anew each time."""
    import torch

    from tasks.interventions.validation import matched_controls

    generators = (torch.Generator().manual_seed(seed * 1000 + draw) for draw in range(draws))
    return [matched_controls(candidates.features, chosen, generator) for generator in generators]


def graph_features(bench: PairBench, candidates: Candidates, window: Window) -> Tensor:
    """A mask: the features of the window that the graph kept, and as many that do most for the corrupt answer."""
    from tasks.interventions.validation import rows_at

    kept = rows_at(candidates.features, _kept_places(bench, window))
    return kept | _strongest_for_corrupt(bench, candidates, int(kept.sum()))


def _kept_places(bench: PairBench, window: Window) -> Tensor:
    """[n, 3]: (layer, position, index) of the kept features in the window."""
    import torch

    claims = bench.made.claims
    features = claims.features.take(claims.kept.nonzero().flatten())
    places = torch.stack([features.layer, features.position, features.index], dim=1)
    there = torch.tensor(window.positions, dtype=torch.long, device=places.device)
    inside = (places[:, 0] >= window.layers.start) & (places[:, 0] < window.layers.stop)
    return places[inside & torch.isin(places[:, 1], there)]


def _strongest_for_corrupt(bench: PairBench, candidates: Candidates, count: int) -> Tensor:
    """A mask: the candidates with the largest predicted effect on the corrupt prompt's own answer."""
    from dataclasses import replace

    import torch

    from tasks.circuits.effect import predicted_effects

    features = candidates.features
    mask = torch.zeros(len(features), dtype=torch.bool, device=features.layer.device)
    if not count or not len(features):
        return mask
    made = bench.made.bench
    there = replace(features, activation=candidates.values)
    dictionaries = made.dictionaries.only(features.layer.unique().tolist())
    effects = -predicted_effects(made.model, bench.corrupt, dictionaries, there, made.target)
    strongest = effects.argsort(descending=True, stable=True)[:count]
    mask[strongest[effects[strongest] > 0]] = True
    return mask
