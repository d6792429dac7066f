"""How surprising each token of a text is to the model that reads it."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.model.language_model import LanguageModel

_POSITIONS_AT_ONCE = 128
"""A long prompt's distributions are not held twice."""


@torch.no_grad()
def surprise(
    model: LanguageModel, logits: Float[Tensor, "pos vocab"], tokens: Sequence[int]
) -> list[tuple[str, float | None]]:
    """Each token's text with -log2 p(token | the tokens before it), in bits; None of the first, which has no past.

    `logits[i]` is what the model predicts after token i.
    """
    following = torch.tensor(list(tokens[1:]), device=logits.device)
    nats: list[float] = []
    for start in range(0, len(following), _POSITIONS_AT_ONCE):
        wanted = following[start : start + _POSITIONS_AT_ONCE]
        predicted = logits[start : start + len(wanted)]
        nats += torch.nn.functional.cross_entropy(predicted, wanted, reduction="none").tolist()
    bits = [None, *(value / math.log(2) for value in nats)]
    return [(model.token_text(token), value) for token, value in zip(tokens, bits, strict=True)]
