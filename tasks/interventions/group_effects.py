"""What a group of features does together: integrated gradients over its joint scaling, and its removal (METHOD §2, §5).

First order is for single features. For a group, the target is differentiated along z' = α · z of all its members, at
the midpoints of ten steps of α from 0 to 1; the mean is the predicted effect of setting them all to zero.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.effect import target_values
from tasks.circuits.nodes import ActiveFeatures
from tasks.interventions.edits import Edits
from tasks.interventions.intervene import edit_splices, measure_each
from tasks.interventions.validation import Bench, ablations

STEPS = 10


def predicted_group_effect(bench: Bench, group: ActiveFeatures, steps: int = STEPS) -> float:
    """baseline - target without the group, by integrated gradients: one forward and one backward pass of `steps` rows.

    Members that lie above others are scaled as they are in the scaled run.
    """
    scale = ((torch.arange(steps, device=bench.model.device) + 0.5) / steps).requires_grad_()
    row = torch.arange(steps, device=scale.device).repeat_interleave(len(group))
    layer, position, index = (each.repeat(steps) for each in (group.layer, group.position, group.index))
    edits = Edits(row, layer, position, index, scale[row], torch.zeros(len(row), device=scale.device))
    prompts = bench.model.token_tensor(bench.tokens).expand(steps, -1)
    splices = edit_splices(bench.dictionaries, edits)
    value = target_values(bench.model, prompts, bench.dictionaries, splices, bench.target).sum()
    (gradient,) = torch.autograd.grad(value, [scale])
    return float(gradient.mean())


def measured_group_effects(bench: Bench, groups: Sequence[ActiveFeatures]) -> Float[Tensor, " group"]:
    """baseline - target with each group at zero."""
    rows = [ablations(group) for group in groups]
    measured = measure_each(bench.model, bench.tokens, bench.dictionaries, rows, bench.target, batch=bench.batch)
    return bench.baseline() - measured
