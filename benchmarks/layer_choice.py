"""Which layers' MLPs carry the behaviours of the embedded model: `python -m benchmarks.layer_choice`, about a minute.

For each pair of equal length, h of one layer at every position but the first is taken from the corrupt prompt; what
that moves of the logit difference, as a share of the distance between the two prompts, is what the MLP carries.
`tasks/dictionaries/layer_choice.py` holds the choice that was made from it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tasks.behaviours import Behaviour, CheckedPair, check_behaviour, load_behaviours
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.hidden import hidden_states
from tasks.model.language_model import LanguageModel
from tasks.model.replay import record
from tasks.model.sources import load_model

_SMALLEST_DIFFERENCE = 1.0
"""Nats between clean and corrupt below which a pair says nothing."""


MEASURED = (
    "acronym", "addition", "agreement", "antonyms", "antonyms_quoted", "capitals", "category", "indirect_object",
    "medical", "number_succession", "succession", "translation_fr", "two_hop_capital", "two_hop_continent",
    "two_hop_language",
)  # fmt: skip
"""The behaviours that the choice was made on: those that the embedded model does, and that were there then."""


def measured_behaviours() -> list[Behaviour]:
    """The behaviours of `MEASURED`."""
    every = load_behaviours()
    return [every[name] for name in MEASURED]


def measure() -> dict[str, float]:
    """The mean over pairs of the share that each layer carries."""
    model = load_model(EMBEDDED_SPEC)
    shares = torch.stack([share for pair in _pairs(model) if (share := carried(model, pair)) is not None])
    return {f"layer {layer}, share of {len(shares)} pairs": float(share) for layer, share in enumerate(shares.mean(0))}


def carried(model: LanguageModel, pair: CheckedPair) -> Tensor | None:
    """The share of one pair's logit difference that each layer's MLP carries; None if the pair says too little."""
    assert pair.corrupt is not None and pair.rival is not None
    clean, corrupt = (model.token_tensor(tokens) for tokens in (pair.clean, pair.corrupt))
    mask = torch.ones_like(clean, dtype=torch.bool)
    last = torch.zeros_like(mask)
    last[:, -1] = True
    other = hidden_states(model, corrupt, mask, range(model.n_layers))
    recording = record(model, clean, mask, last, 0)

    def difference(logits: Tensor) -> float:
        return float(logits[0, pair.decisive] - logits[0, pair.rival])

    whole = difference(recording.logits({}))
    distance = whole - difference(model.logits(corrupt)[:, -1])
    if distance < _SMALLEST_DIFFERENCE:
        return None

    def swapped(layer: int) -> float:
        return difference(recording.logits({layer: lambda h: torch.cat([h[:, :1], other[layer][:, 1:]], dim=1)}))

    return torch.tensor([(whole - swapped(layer)) / distance for layer in range(model.n_layers)])


def _pairs(model: LanguageModel) -> Iterator[CheckedPair]:
    for behaviour in measured_behaviours():
        for checked in check_behaviour(model, behaviour).pairs.values():
            if checked.equal_length and checked.rival is not None:
                yield checked


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:40} {value:8.3f}")
