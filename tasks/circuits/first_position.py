"""Position 0 in closed form where it is no source: what its token and its constants are in every layer's values.

A gradient that reaches position 0 can only stay there, and all that is ever read off it is what the position's token
and its constants come to. Both are carried upwards once, and rows need not be pulled back through position 0 at all.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tasks.circuits.frozen import FrozenLayer, FrozenRun
from tasks.circuits.linearise import LinearNeurons
from tasks.circuits.nodes import LayerSources, Sources
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.model.architecture import LayerModules
from tasks.model.language_model import LanguageModel

TOKEN, CONSTANTS = 0, 1
"""Rows of what the token and the constants come to."""


def is_no_source(sources: Sources) -> bool:
    """Whether position 0 has neither features nor errors."""
    return not any(
        layer.columns[0].start < layer.columns[0].stop or bool(layer.error[0].any())
        for layer in sources.layers.values()
    )


def values_at_first(
    model: LanguageModel,
    run: FrozenRun,
    dictionaries: DictionarySet,
    sources: Sources,
    neurons_of: Callable[[int], LinearNeurons],
) -> list[Float[Tensor, "2 width"]]:
    """Per layer: what the heads' values at position 0 are made of, their bias left out."""
    token = run.embeddings[0]
    parts = torch.stack([token, torch.zeros_like(token)])
    values = []
    for index, (modules, frozen) in enumerate(zip(model.layers, run.layers, strict=True)):
        values.append(_through(modules.value, parts * frozen.attention_norm_scale[0], bias=False))
        parts = parts + _attended(modules, frozen, values[-1])
        u = parts * frozen.mlp_norm_scale[0]
        leaves = sources.layers.get(index)
        if leaves is None:
            written = _through_neurons(modules, neurons_of(index), u)
        else:
            written = _at_leaves(leaves, dictionaries[index].skip if index in dictionaries else None, u)
        parts = parts + (written if frozen.mlp_output_scale is None else written * frozen.mlp_output_scale[0])
    return values


def _through(linear: nn.Linear, parts: Float[Tensor, "2 d_in"], *, bias: bool = True) -> Float[Tensor, "2 d_out"]:
    """A linear map of both; its bias is a constant."""
    out = parts @ linear.weight.detach().float().T
    if bias and linear.bias is not None:
        out[CONSTANTS] += linear.bias.detach().float()
    return out


def _attended(modules: LayerModules, frozen: FrozenLayer, values: Float[Tensor, "2 width"]) -> Float[Tensor, "2 d"]:
    """What the heads write at position 0, which can attend to itself alone."""
    read = values.clone()
    if modules.value.bias is not None:
        read[CONSTANTS] += modules.value.bias.detach().float()
    attention = frozen.attention_pattern[:, 0, 0]
    of_heads = read.unflatten(1, (-1, modules.d_head))
    of_heads = of_heads.repeat_interleave(len(attention) // of_heads.shape[1], 1) * attention[:, None]
    written = _through(modules.output, of_heads.flatten(1))
    return written if frozen.attention_output_scale is None else written * frozen.attention_output_scale[0]


def _through_neurons(modules: LayerModules, neurons: LinearNeurons, u: Float[Tensor, "2 d"]) -> Float[Tensor, "2 d"]:
    """An MLP without a dictionary, linearised."""
    gate, up = _through(modules.gate, u), _through(modules.up, u)
    return _through(modules.down, neurons.of_gate[0] * gate + neurons.of_up[0] * up)


def _at_leaves(leaves: LayerSources, skip: Tensor | None, u: Float[Tensor, "2 d"]) -> Float[Tensor, "2 d"]:
    """An MLP with a dictionary: what it writes at position 0 is constant, but for the bypass of some."""
    written = torch.zeros_like(u) if skip is None else u @ skip.T
    written[CONSTANTS] += leaves.bias[0]
    return written
