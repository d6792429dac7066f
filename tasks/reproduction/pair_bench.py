"""One pair, ready to be measured: its graph's bench, its corrupt twin's features, and what lies in a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from typing import TYPE_CHECKING

from tasks.behaviours import Hypothesis, Pair, Where
from tasks.validation_bench import GraphBench, graph_bench

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.circuits.nodes import ActiveFeatures
    from tasks.context import Context
    from tasks.dictionaries.dictionary_set import DictionarySet
    from tasks.interventions.edits import Edits
    from tasks.interventions.removal import FeatureValues


@dataclass(frozen=True)
class Window:
    """Where a hypothesis is tested: layers (a range of the model's) and positions of one prompt."""

    layers: range
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Candidates:
    """Every feature of a window that is active in one of the two prompts."""

    features: ActiveFeatures
    """Their `activation` is the change from clean to corrupt, so that controls are matched in the size of the swap."""
    values: Tensor
    """[feature]: what it is in the corrupt prompt."""

    def swap(self, rows: Tensor) -> Edits:
        """The joint edit of one row that gives the chosen ones (a mask or indices) their corrupt values."""
        from tasks.interventions.validation import setting

        return setting(self.features.take(rows), self.values[rows])


@dataclass(frozen=True)
class PairBench:
    """A pair that was traced, with its corrupt twin of equal length."""

    pair: Pair
    made: GraphBench
    corrupt: tuple[int, ...]
    whole_set: DictionarySet
    """The dictionaries before the graph's layers were chosen, to be shared by other pairs."""

    @cached_property
    def clean_value(self) -> float:
        """The logit difference decisive - rival after the clean prompt, nats."""
        return self.made.bench.baseline()

    @cached_property
    def corrupt_value(self) -> float:
        """The same after the corrupt prompt."""
        from dataclasses import replace

        return replace(self.made.bench, tokens=self.corrupt).baseline()

    @cached_property
    def corrupt_features(self) -> FeatureValues:
        """Every feature of the corrupt prompt."""
        from tasks.interventions.removal import feature_values

        bench = self.made.bench
        return feature_values(bench.model, bench.dictionaries, self.corrupt)

    def moved(self, value: float) -> float:
        """How far a logit difference is on the way from the clean one (0) to the corrupt one (1)."""
        return (self.clean_value - value) / (self.clean_value - self.corrupt_value)

    def window(self, hypothesis: Hypothesis) -> Window:
        """The hypothesis' window in this prompt."""
        n_layers, (low, high) = self.made.bench.model.n_layers, hypothesis.depth
        layers = range(floor(low * n_layers), ceil(high * n_layers))
        positions = window_positions(self.made.bench.tokens, self.corrupt, hypothesis.where, self.made.start)
        return Window(layers, positions)

    def candidates(self, window: Window) -> Candidates:
        """What could be swapped in a window."""
        import torch

        from tasks.circuits.nodes import ActiveFeatures

        device = self.made.bench.model.device
        at = torch.tensor(window.positions, dtype=torch.long, device=device)
        columns: list[tuple[Tensor, ...]] = []
        for layer in sorted(set(self.made.bench.dictionaries.layers) & set(window.layers)):
            clean, corrupt = self.made.clean[layer][at], self.corrupt_features[layer][at]
            row, index = ((clean != 0) | (corrupt != 0)).nonzero().unbind(1)
            values = corrupt[row, index].float()
            columns.append((torch.full_like(row, layer), at[row], index, values - clean[row, index].float(), values))
        if not columns:
            nothing = torch.empty(0, dtype=torch.long, device=device)
            return Candidates(ActiveFeatures(nothing, nothing, nothing, nothing.float()), nothing.float())
        joined = [torch.cat(parts) for parts in zip(*columns, strict=True)]
        return Candidates(ActiveFeatures(joined[0], joined[1], joined[2], joined[3]), joined[4])

    def values_with(self, rows: Sequence[Edits]) -> list[float]:
        """The logit difference under each joint edit, nats."""
        from tasks.interventions.intervene import measure_each

        bench = self.made.bench
        found: list[float] = measure_each(
            bench.model, bench.tokens, bench.dictionaries, rows, bench.target, batch=bench.batch
        ).tolist()
        return found


def pair_bench(
    context: Context, graph: int, pair: Pair, corrupt: tuple[int, ...], batch: int, loaded: DictionarySet | None
) -> PairBench:
    """The bench of a pair whose clean prompt was traced as `graph`."""
    made = graph_bench(context, graph, batch, loaded)
    return PairBench(pair, made, corrupt, loaded or made.bench.dictionaries)


def window_positions(clean: Sequence[int], corrupt: Sequence[int], where: Where, start: int = 1) -> tuple[int, ...]:
    """The positions that a word for them means in a pair of equal length, those before `start` left out."""
    last = len(clean) - 1
    differing = [at for at, (first, second) in enumerate(zip(clean, corrupt, strict=True)) if first != second]
    chosen = {
        Where.SUBJECT: differing,
        Where.BETWEEN: range(differing[0] if differing else last, last),
        Where.LAST: [last],
        Where.ANYWHERE: range(last + 1),
    }[where]
    return tuple(at for at in chosen if at >= start)
