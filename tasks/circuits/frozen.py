"""One forward pass with everything that the SHARE view freezes written down (METHOD §1)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tasks.model.architecture import LayerModules
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class FrozenLayer:
    """The constants of one layer for one prompt, float32. A scale is what a norm multiplies each coordinate by."""

    attention_norm_scale: Float[Tensor, "pos d"]
    attention_norm_inverse: Float[Tensor, "pos 1"]
    """The part of that scale that differs between positions: 1 / root mean square."""
    attention_pattern: Float[Tensor, "head query key"]
    attention_output_scale: Float[Tensor, "pos d"] | None
    mlp_norm_scale: Float[Tensor, "pos d"]
    mlp_input: Float[Tensor, "pos d"]
    gate: Float[Tensor, "pos m"]
    up: Float[Tensor, "pos m"]
    hidden: Float[Tensor, "pos m"]
    mlp_output: Float[Tensor, "pos d"]
    mlp_output_scale: Float[Tensor, "pos d"] | None


@dataclass(frozen=True)
class FrozenRun:
    """One prompt through the unmodified model."""

    tokens: tuple[int, ...]
    embeddings: Float[Tensor, "pos d"]
    layers: tuple[FrozenLayer, ...]
    final_norm_scale: Float[Tensor, "pos d"]
    final: Float[Tensor, "pos d"]
    """The normed residual stream that is unembedded."""
    unembed: Callable[[Tensor], Tensor]
    _logits: dict[int, Tensor] = field(default_factory=dict)

    @property
    def n_positions(self) -> int:
        """Length of the prompt in tokens."""
        return len(self.tokens)

    def logits_at(self, positions: Sequence[int]) -> Float[Tensor, "at vocab"]:
        """The logits at these positions, before a soft cap, where the family has one.

        Made when they are asked for, and kept: a graph asks for one position, and unembedding all of a prompt costs
        as much as several layers.
        """
        unknown = [position for position in dict.fromkeys(positions) if position not in self._logits]
        if unknown:
            self._logits.update(zip(unknown, self.unembed(self.final[unknown]), strict=True))
        return torch.stack([self._logits[position] for position in positions])


Record = dict[str, Tensor]


def freeze(model: LanguageModel, tokens: Sequence[int]) -> FrozenRun:
    """Run the prompt once, with attention patterns readable, and keep what the linearisation needs."""
    record: Record = {}
    with torch.no_grad(), model.readable_attention(), _recording(model, record):
        model.hf.base_model(input_ids=model.token_tensor(tokens), use_cache=False)
    layers = tuple(_frozen_layer(model, record, index, layer) for index, layer in enumerate(model.layers))
    return FrozenRun(
        tokens=tuple(tokens),
        embeddings=record["embeddings"],
        layers=layers,
        final_norm_scale=_norm_scale(model, model.final_norm, record["final_norm.in"]),
        final=record["final_norm.out"],
        unembed=partial(_unembedded, model),
    )


def _frozen_layer(model: LanguageModel, record: Record, index: int, layer: LayerModules) -> FrozenLayer:
    def scale(norm: nn.Module | None, name: str) -> Tensor | None:
        return None if norm is None else _norm_scale(model, norm, record[f"{index}.{name}.in"])

    return FrozenLayer(
        attention_norm_scale=_norm_scale(model, layer.attention_norm, record[f"{index}.attention_norm.in"]),
        attention_norm_inverse=_inverse_rms(model, layer.attention_norm, record[f"{index}.attention_norm.in"]),
        attention_pattern=record[f"{index}.pattern"],
        attention_output_scale=scale(layer.attention_output_norm, "attention_output_norm"),
        mlp_norm_scale=_norm_scale(model, layer.mlp_norm, record[f"{index}.mlp_norm.in"]),
        mlp_input=record[f"{index}.mlp_norm.out"],
        gate=record[f"{index}.gate.out"],
        up=record[f"{index}.up.out"],
        hidden=record[f"{index}.down.in"],
        mlp_output=record[f"{index}.down.out"],
        mlp_output_scale=scale(layer.mlp_output_norm, "mlp_output_norm"),
    )


def _norm_scale(model: LanguageModel, norm: nn.Module, x: Float[Tensor, "pos d"]) -> Float[Tensor, "pos d"]:
    return _inverse_rms(model, norm, x) * model.norm_weight(norm).float()


def _inverse_rms(model: LanguageModel, norm: nn.Module, x: Float[Tensor, "pos d"]) -> Float[Tensor, "pos 1"]:
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + model.norm_epsilon(norm))


@contextmanager
def _recording(model: LanguageModel, record: Record) -> Iterator[None]:
    """Hooks that write inputs and outputs of the named modules into `record`, each [pos, width], float32."""
    watched: dict[str, nn.Module | None] = {"final_norm": model.final_norm}
    for index, layer in enumerate(model.layers):
        for name in ("attention_norm", "attention_output_norm", "mlp_norm", "mlp_output_norm", "gate", "up", "down"):
            watched[f"{index}.{name}"] = getattr(layer, name)
    hooks = [
        module.register_forward_hook(partial(_keep, record, name))
        for name, module in watched.items()
        if module is not None
    ]
    for index, layer in enumerate(model.layers):
        hooks.append(layer.attention.register_forward_hook(partial(_keep_pattern, record, index)))
    hooks.append(model.blocks[0].register_forward_pre_hook(partial(_keep_embeddings, record), with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _unembedded(model: LanguageModel, final: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.unembedding(final.to(model.unembedding_weight.dtype))
    return logits.float()


def _keep(record: Record, name: str, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    record[f"{name}.in"] = inputs[0][0].float()
    record[f"{name}.out"] = output[0].float()


def _keep_pattern(record: Record, index: int, _module: nn.Module, _in: object, output: tuple[Tensor, Tensor]) -> None:
    record[f"{index}.pattern"] = output[1][0].float()


def _keep_embeddings(record: Record, _module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
    hidden = inputs[0] if inputs else named["hidden_states"]
    record["embeddings"] = hidden[0].float()
