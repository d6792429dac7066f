"""How large what a feature writes is beside the stream that it writes to: where first order ends (METHOD §2)."""

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.frozen import FrozenLayer, FrozenRun
from tasks.circuits.nodes import ActiveFeatures
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Site
from tasks.model.language_model import LanguageModel

LARGE_WRITE = 0.5
"""From this part of the residual stream on, removing a feature is no small step."""


def write_sizes(
    model: LanguageModel, run: FrozenRun, dictionaries: DictionarySet, features: ActiveFeatures
) -> Float[Tensor, " n"]:
    """|z · write vector| / |residual stream that the MLP adds to|, both norms at the feature's layer and position."""
    sizes = torch.zeros_like(features.activation)
    for layer in features.layer.unique().tolist():
        rows = (features.layer == layer).nonzero().squeeze(1)
        dictionary, frozen = dictionaries[layer], run.layers[layer]
        position, index = features.position[rows], features.index[rows]
        if dictionary.writes is Site.MLP_OUTPUT:
            writes = dictionary.write_vectors(index)
        else:
            writes = dictionary.writes_through(index, model.layers[layer].down.weight.detach().float())
        writes = writes * features.activation[rows, None]
        if frozen.mlp_output_scale is not None:
            writes = writes * frozen.mlp_output_scale[position]
        sizes[rows] = (writes.norm(dim=-1) / residual(frozen)[position].norm(dim=-1)).to(sizes.dtype)
    return sizes


def residual(frozen: FrozenLayer) -> Float[Tensor, "pos d"]:
    """The stream between attention and MLP, from its normed value; coordinates that the norm drops are zero."""
    scale = frozen.mlp_norm_scale
    return torch.where(scale == 0, torch.zeros_like(scale), frozen.mlp_input / torch.where(scale == 0, 1.0, scale))
