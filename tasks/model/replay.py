"""Running the rest of a forward again from a layer on, with some layers' MLP hidden changed.

An evaluation changes one layer at a time, many times over: what comes before that layer need not be computed again.
Equal to `splice.spliced_logits` (tests), which is the way for single interventions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tasks.model.language_model import LanguageModel

HiddenChange = Callable[[Tensor], Tensor]
"""h [batch, pos, m] -> what stands in its place."""


@dataclass(frozen=True)
class Recording:
    """What went into each decoder layer of one forward, from the first layer of interest on."""

    model: LanguageModel
    inputs: Mapping[int, tuple[tuple[Any, ...], dict[str, Any]]]
    """Layer -> positional and keyword arguments of its block, the residual stream first."""
    keep: Bool[Tensor, "batch pos"]
    """The positions whose logits are wanted."""

    @torch.no_grad()
    def logits(self, changes: Mapping[int, HiddenChange]) -> Float[Tensor, "kept vocab"]:
        """Float32 logits at the kept positions with h changed in some layers, none of them before the recording."""
        model = self.model
        first = min(changes, default=max(self.inputs))
        residual = self.inputs[first][0][0]
        handles = [
            model.layers[layer].down.register_forward_pre_hook(_changing(change)) for layer, change in changes.items()
        ]
        try:
            for layer in range(first, model.n_layers):
                (_, *others), options = self.inputs[layer]
                residual = model.blocks[layer](residual, *others, **options)
        finally:
            for handle in handles:
                handle.remove()
        logits: Tensor = model.unembedding(model.final_norm(residual[self.keep])).float()
        cap = model.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)


@torch.no_grad()
def record(
    model: LanguageModel,
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"],
    keep: Bool[Tensor, "batch pos"],
    first: int,
) -> Recording:
    """One forward through the decoder, remembering what goes into layers `first` and later."""
    inputs: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def remember(layer: int) -> Callable[..., None]:
        def hook(_block: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            inputs[layer] = arguments, options

        return hook

    handles = [
        model.blocks[layer].register_forward_pre_hook(remember(layer), with_kwargs=True)
        for layer in range(first, model.n_layers)
    ]
    try:
        model.hf.get_decoder()(
            input_ids=tokens.to(model.device), attention_mask=mask.to(model.device).long(), use_cache=False
        )
    finally:
        for handle in handles:
            handle.remove()
    return Recording(model, inputs, keep.to(model.device))


def _changing(change: HiddenChange) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
    return lambda _module, inputs: (change(inputs[0]),)
