"""Two numbers of a node on one target, side by side and in the same nats: its share and its predicted effect."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.attribution import Attribution
from tasks.circuits.effect import predicted_effects
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import LogitTarget, logit_rows


@dataclass(frozen=True)
class Measures:
    """For every active feature (not only the attributed ones), and for errors and tokens."""

    share: Float[Tensor, " column"]
    """Nats of the target that come through each column of `Sources`, along all paths of the frozen model."""
    predicted_effect: Float[Tensor, " active"]
    """Nats that the target would lose without each active feature, first order in the live model."""

    def node_share(self, graph: Attribution) -> Float[Tensor, " node"]:
        """The share of every node of the graph; a logit has none."""
        n_active = len(self.predicted_effect)
        logits = self.share.new_zeros(len(graph.logits))
        return torch.cat([self.share[:n_active][graph.rows_of_active], self.share[n_active:], logits])


def measure_nodes(sweep: Sweep, target: LogitTarget) -> Measures:
    """Both numbers for one target."""
    rows = sweep.pull_back(logit_rows(sweep.model, sweep.run, [target]), through_dictionaries=True)
    effects = predicted_effects(sweep.model, sweep.run.tokens, sweep.dictionaries, sweep.sources.features, target)
    return Measures(rows.shares[0], effects)
