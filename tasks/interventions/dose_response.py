"""Edits at several doses in one batch, and what first order says of them (METHOD §2, §5; doses: `tasks.doses`).

The prediction is the derivative of the target in the unmodified model along the edits: at dose d it is
d · Σ (z'_as_written - z) · ∂target/∂z, a straight line through zero that touches the curve there.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.effect import predicted_effects
from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.targets import LogitTarget
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.interventions.edits import Edits
from tasks.model.language_model import LanguageModel
from tasks.model.smaller_batches import in_smaller_batches, split

BatchLogits = Callable[[Edits, int], Float[Tensor, "row pos vocab"]]
"""(edits of a batch, its number of rows) -> logits."""


def logits_at_doses(
    logits_of: BatchLogits,
    edits: Edits,
    doses: Sequence[float],
    batch: int,
    advance: Callable[[float], None] = lambda _: None,
) -> Float[Tensor, "dose vocab"]:
    """Next-token logits at every dose, at most `batch` of them in one run; halved for good where memory is short."""

    def last_logits(block: Sequence[float]) -> Tensor:
        together = Edits.join([edits.at_dose(dose).at_row(row) for row, dose in enumerate(block)])
        return logits_of(together, len(block))[:, -1].clone()

    rows: list[Tensor] = []
    for block, found in in_smaller_batches(split(doses, batch), last_logits):
        rows.extend(found)
        advance(len(block))
    return torch.stack(rows)


def predicted_change(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    edits: Edits,
    activations: Mapping[int, Float[Tensor, "pos feature"]],
    target: LogitTarget,
) -> float:
    """First-order change (after - before) of the target under the edits as they are written, nats.

    `activations` are the features of the unmodified prompt by layer.
    """
    moved = torch.zeros_like(edits.add)
    for layer in edits.layer.unique().tolist():
        rows = edits.layer == layer
        here = edits.take(rows)
        moved[rows] = (here.multiply - 1) * activations[layer][here.position, here.index] + here.add
    places = ActiveFeatures(edits.layer, edits.position, edits.index, moved)
    touched = dictionaries.only(edits.layer.unique().tolist())
    return float(predicted_effects(model, tokens, touched, places, target).sum())
