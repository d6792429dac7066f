"""What is held at its unmodified value while an edited prompt runs (METHOD §5).

Norm denominators are never held alone: with gated MLPs live, the missing renormalisation lets an edit grow without
bound (METHOD §2). They are held only together with attention patterns and all MLP outputs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from store.errors import BadInput
from tasks.model.architecture import LayerModules
from tasks.model.language_model import LanguageModel


class Freeze(StrEnum):
    """What stays as it is in the unmodified model. Nothing else can be asked for."""

    NONE = "none"
    """Everything is live: the real model's answer."""
    ATTENTION = "attention"
    """Attention patterns of the unmodified prompt; values, norms and MLPs are live. Tokens after the prompt have no
    such pattern: theirs are live."""
    DIRECT = "direct"
    """Attention patterns, norm denominators and MLP outputs together: what is left of an edit is its path along the
    residual stream and the values of attention, to the logits and to what later features read."""


_HOLDS = {frozenset[str](): Freeze.NONE, frozenset({"attention"}): Freeze.ATTENTION}
_PARTS = frozenset({"attention", "norms", "mlps"})


def parse_freeze(text: str) -> Freeze:
    """`none`, `attention`, `direct`, or the parts that are held, as `attention,norms,mlps` (which is `direct`).

    `BadInput` for any other combination, with the reason.
    """
    if text in list(Freeze):
        return Freeze(text)
    parts = frozenset(part.strip() for part in text.split(","))
    if not parts <= _PARTS:
        unknown = ", ".join(sorted(parts - _PARTS))
        raise BadInput(f"{unknown!r} cannot be frozen", "choose none, attention or direct")
    if parts == _PARTS:
        return Freeze.DIRECT
    if parts in _HOLDS:
        return _HOLDS[parts]
    if "norms" in parts and "mlps" not in parts:
        raise BadInput(
            "norms cannot be frozen while MLPs are live: without renormalisation an edit grows without bound",
            "choose direct, which freezes attention, norms and MLP outputs together, or leave the norms live",
        )
    raise BadInput(
        f"{text!r} freezes a part of what direct effects need", "choose direct (attention, norms, mlps) or attention"
    )


@dataclass(frozen=True)
class HeldLayer:
    """One layer's attention in the unmodified prompt."""

    pattern: Float[Tensor, "group head query key"]
    """Float32; a group's heads share keys and values."""
    values: Float[Tensor, "pos d_values"]
    """What `v_proj` gives, all groups beside each other."""
    mixed: Float[Tensor, "pos d_heads"]
    """What `o_proj` takes, all heads beside each other."""

    def after(self, start: int) -> "HeldLayer":
        """The same for runs of the positions from `start` on: before it no value moves."""
        return HeldLayer(self.pattern[..., start:, start:], self.values[start:], self.mixed[start:])

    def with_values(
        self, values: Float[Tensor, "row text d_values"], mixed: Float[Tensor, "row text d_heads"]
    ) -> Float[Tensor, "row text d_heads"]:
        """What `o_proj` takes with these values and the held pattern: mixed₀ + pattern (v - v₀) in the prompt.

        Where no value moved it is mixed₀ bitwise, whatever the model's type rounds to. `mixed` stays after the prompt.
        """
        n_groups, _, n_prompt, _ = self.pattern.shape
        moved = (values[:, :n_prompt] - self.values).float().unflatten(2, (n_groups, -1))
        change = torch.einsum("ghqk,rkge->rqghe", self.pattern, moved).flatten(2)
        return torch.cat([self.mixed + change.to(mixed.dtype), mixed[:, n_prompt:]], dim=1)


@torch.no_grad()
def hold_attention(model: LanguageModel, prompt: Sequence[int]) -> tuple[HeldLayer, ...]:
    """Every layer's attention in the unmodified prompt.

    Patterns come from the readable (eager) run, values from the one that the model itself runs.
    """
    tokens = model.token_tensor(prompt)
    patterns: dict[int, Tensor] = {}
    values: dict[int, Tensor] = {}
    mixed: dict[int, Tensor] = {}
    with model.readable_attention(), _hooks(_pattern_hooks(model, patterns)):
        model.hf(input_ids=tokens, use_cache=False, logits_to_keep=1)
    with _hooks(_value_hooks(model, values, mixed)):
        model.hf(input_ids=tokens, use_cache=False, logits_to_keep=1)
    return tuple(
        HeldLayer(patterns[i].unflatten(0, (_n_groups(layer), -1)), values[i], mixed[i])
        for i, layer in enumerate(model.layers)
    )


@contextmanager
def held(model: LanguageModel, attention: Sequence[HeldLayer]) -> Iterator[None]:
    """Inside, every run of the model has these attention patterns at the prompt's positions, whatever the batch.

    `attention` has one entry a layer, or none at all: then nothing is held.
    """
    handles = []
    for layer, kept in zip(model.layers, attention, strict=False):
        live: list[Tensor] = []
        handles.append(layer.value.register_forward_hook(partial(_note_values, live)))
        handles.append(layer.output.register_forward_pre_hook(partial(_mix_held, live, kept)))
    with _hooks(handles):
        yield


def _note_values(live: list[Tensor], _module: nn.Module, _inputs: object, output: Tensor) -> None:
    live[:] = [output]


def _mix_held(live: list[Tensor], kept: HeldLayer, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (kept.with_values(live.pop(), inputs[0]),)


def _n_groups(layer: LayerModules) -> int:
    return layer.value.out_features // layer.d_head


Handles = list[torch.utils.hooks.RemovableHandle]


@contextmanager
def _hooks(handles: Handles) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pattern_hooks(model: LanguageModel, patterns: dict[int, Tensor]) -> Handles:
    def keep(index: int, _module: nn.Module, _inputs: object, output: tuple[Tensor, Tensor]) -> None:
        patterns[index] = output[1][0].float()

    return [layer.attention.register_forward_hook(partial(keep, index)) for index, layer in enumerate(model.layers)]


def _value_hooks(model: LanguageModel, values: dict[int, Tensor], mixed: dict[int, Tensor]) -> Handles:
    def keep_values(index: int, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        values[index] = output[0]

    def keep_mixed(index: int, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mixed[index] = inputs[0][0]

    handles: Handles = []
    for index, layer in enumerate(model.layers):
        handles.append(layer.value.register_forward_hook(partial(keep_values, index)))
        handles.append(layer.output.register_forward_pre_hook(partial(keep_mixed, index)))
    return handles
