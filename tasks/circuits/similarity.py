"""How alike features write: what automatic supernodes are made of."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.logit_lens import stream_writes
from tasks.model.language_model import LanguageModel


@torch.no_grad()
def write_similarity(
    model: LanguageModel,
    dictionaries: DictionarySet,
    layer: Int[Tensor, " feature"],
    index: Int[Tensor, " feature"],
) -> Float[Tensor, "feature feature"]:
    """The cosine of what each two features write into the residual stream, whatever layers they are of."""
    written = torch.zeros(len(layer), model.d_model, device=model.device)
    for number in layer.unique().tolist():
        rows = (layer == number).nonzero()[:, 0]
        written[rows] = stream_writes(model, dictionaries[number], index[rows])
    unit = torch.nn.functional.normalize(written, dim=1)
    return unit @ unit.T
