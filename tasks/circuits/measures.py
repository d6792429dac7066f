"""Two numbers of a node on one target, side by side and in the same nats: its share and its predicted effect."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.attribution import Attribution
from tasks.circuits.effect import predicted_effects
from tasks.circuits.nodes import find_sources, threshold_margins
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import Target


@dataclass(frozen=True)
class Measures:
    """For every active feature (not only the attributed ones), and for errors and tokens."""

    share: Float[Tensor, " column"]
    """Nats of the target that come through each column of `Sources`, along all paths of the frozen model."""
    predicted_effect: Float[Tensor, " active"]
    """Nats that the target would lose without each active feature, first order in the live model."""
    margin: Float[Tensor, " active"]
    """How far each active feature is above its threshold, in units of its activation; infinite for neurons."""
    unreplaced_share: float
    """Part of what the target is made of that layers without a dictionary write (they pass through in the graph)."""

    def node_share(self, graph: Attribution) -> Float[Tensor, " node"]:
        """The share of every node of the graph; a target has none."""
        n_active = len(self.predicted_effect)
        targets = self.share.new_zeros(len(graph.targets))
        return torch.cat([self.share[:n_active][graph.rows_of_active], self.share[n_active:], targets])


def measure_nodes(sweep: Sweep, target: Target, *, first_position: bool = False) -> Measures:
    """Both numbers for one target; `first_position` says whether position 0 was made a source."""
    rows = sweep.pull_back(sweep.target_rows([target]), through_dictionaries=True)
    effects = predicted_effects(sweep.model, sweep.run.tokens, sweep.dictionaries, sweep.sources.features, target)
    margin = threshold_margins(sweep.run, sweep.dictionaries, sweep.sources.features)
    return Measures(rows.shares[0], effects, margin, _unreplaced_share(sweep, target, first_position))


def _unreplaced_share(sweep: Sweep, target: Target, first_position: bool) -> float:
    """One more row, in which each MLP without a dictionary is a leaf."""
    unreplaced = [layer for layer in range(sweep.model.n_layers) if layer not in sweep.dictionaries]
    if not unreplaced:
        return 0.0
    sources = find_sources(
        sweep.model, sweep.run, sweep.dictionaries, first_position=first_position, unreplaced_as_error=True
    )
    leaves = sweep.with_sources(sources).pull_back(sweep.target_rows([target]))
    errors = leaves.shares[0, sources.first_error : sources.first_token].view(sweep.model.n_layers, -1)
    return float(errors[unreplaced].abs().sum() / leaves.shares.abs().sum().clamp(min=1e-30))
