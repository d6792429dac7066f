"""Running the real model with the MLPs of some layers changed on the way: replacement and interventions (seed §9-§11).

One function, through nnsight. What a splice does to a value is its own affair; where it sits is a `Site`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from tasks.dictionaries.protocol import Dictionary, Site
from tasks.model.language_model import LanguageModel

Change = Callable[[Tensor, Tensor], Tensor]
"""(what the dictionary reads, what is there to be overwritten), both [batch, pos, width] -> the new written value."""


@dataclass(frozen=True)
class Splice:
    """One change in one layer's MLP."""

    layer: int
    reads: Site
    writes: Site
    change: Change


def spliced_logits(
    model: LanguageModel,
    tokens: Int[Tensor, "batch pos"] | Float[Tensor, "batch pos d"],
    splices: Sequence[Splice],
    attention_mask: Int[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, "batch pos vocab"]:
    """Float32 logits of the model with every splice applied, each seeing what the earlier layers' splices did.

    `tokens` are ids, or token embeddings as the first layer takes them. Differentiable with respect to embeddings and
    to whatever the changes close over. With no splice: the unmodified logits, bitwise.
    """
    name = "inputs_embeds" if tokens.is_floating_point() else "input_ids"
    inputs: dict[str, object] = {name: tokens, "use_cache": False}
    if attention_mask is not None:
        inputs["attention_mask"] = attention_mask
    with model.nnsight.trace(inputs):
        for splice in sorted(splices, key=lambda each: each.layer):
            mlp = model.nnsight.model.layers[splice.layer].mlp
            read = mlp.input if splice.reads is Site.MLP_INPUT else mlp.down_proj.input
            if splice.writes is Site.MLP_OUTPUT:
                mlp.output = splice.change(read, mlp.output)
            else:
                mlp.down_proj.input = splice.change(read, mlp.down_proj.input)
        logits = model.nnsight.output.logits.save()
    result: Tensor = logits
    return result.float()


def probed(splices: Sequence[Splice], dictionary: Dictionary, keep: Callable[[Tensor], None]) -> list[Splice]:
    """The same splices, and `keep` told what `dictionary` reads on the way (before its own layer's splice acts)."""
    mine = [splice for splice in splices if splice.layer == dictionary.layer]
    change = mine[0].change if mine else lambda _read, write: write

    def kept(read: Tensor, write: Tensor) -> Tensor:
        keep(read)
        return change(read, write)

    others = [splice for splice in splices if splice.layer != dictionary.layer]
    return [*others, Splice(dictionary.layer, dictionary.reads, dictionary.writes, kept)]


def reconstruction(dictionary: Dictionary, read: Float[Tensor, "*batch d_read"]) -> Float[Tensor, "*batch d_write"]:
    """What the dictionary has in place of the real value: D(E(x)), and its linear bypass where it has one."""
    written = dictionary.decode(dictionary.encode(read))
    return written if dictionary.skip is None else written + read @ dictionary.skip.T


def replacement(dictionary: Dictionary) -> Splice:
    """The dictionary in place of what it reconstructs, its error dropped: h' = D(E(h)) for an SAE."""
    return Splice(
        dictionary.layer, dictionary.reads, dictionary.writes, lambda read, _write: reconstruction(dictionary, read)
    )
