"""Which tokens a feature promotes and suppresses through its own write vector, no later layer asked (METHOD §7)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.dictionaries.neurons import Neurons
from tasks.dictionaries.protocol import Dictionary, Site
from tasks.model.language_model import LanguageModel

_FEATURES_AT_ONCE = 256


@dataclass(frozen=True)
class TokenWeights:
    """The ends of each feature's ranking of tokens, strongest first."""

    promoted: Int[Tensor, "n_features top"]
    promoted_logits: Float[Tensor, "n_features top"]
    suppressed: Int[Tensor, "n_features top"]
    suppressed_logits: Float[Tensor, "n_features top"]


@torch.no_grad()
def token_weights(model: LanguageModel, dictionary: Dictionary, top: int = 10) -> TokenWeights:
    """W_U (norm weight ⊙ v) − its mean over tokens, for each folded write vector v (for z = 1, before the final norm's
    division). Where the family norms the MLP's output, that norm's weight multiplies v first."""
    kept: list[tuple[Tensor, ...]] = []
    unembedding = model.unembedding_weight.float()
    mean = unembedding.mean(0)
    for features in torch.arange(dictionary.n_features, device=model.device).split(_FEATURES_AT_ONCE):
        folded = _folded(model, dictionary, features)
        logits, shift = folded @ unembedding.T, (folded @ mean)[:, None]  # a shift of all ranks them as they are
        up, down = logits.topk(top, dim=1), logits.topk(top, dim=1, largest=False)
        kept.append(tuple(each.cpu() for each in (up.indices, up.values - shift, down.indices, down.values - shift)))
    return TokenWeights(*(torch.cat(column) for column in zip(*kept, strict=True)))


def _folded(model: LanguageModel, dictionary: Dictionary, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """What each feature adds to the residual stream, times the final norm's weight."""
    return stream_writes(model, dictionary, features) * model.norm_weight(model.final_norm).float()


def stream_writes(model: LanguageModel, dictionary: Dictionary, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """What each feature adds to the residual stream for z = 1, but for the denominator of a sandwich norm."""
    parts = model.layers[dictionary.layer]
    if dictionary.writes is Site.MLP_HIDDEN:
        vectors = dictionary.writes_through(features, parts.down.weight.detach()).float()
    else:
        vectors = dictionary.write_vectors(features).float()
    if parts.mlp_output_norm is not None:
        vectors = vectors * model.norm_weight(parts.mlp_output_norm).float()
    return vectors


def compared_writes(model: LanguageModel, dictionary: Dictionary, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """The vectors by which features are alike: where the dictionary writes, or of neurons, which are orthogonal there,
    in the residual stream."""
    if isinstance(dictionary, Neurons):
        return stream_writes(model, dictionary, features)
    return dictionary.write_vectors(features).float()
