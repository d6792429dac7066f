"""EFFECT: what the real model would do if a part were removed, to first order (METHOD §2).

Nothing is frozen: attention, norms and both MLP branches are live, and what the dictionaries miss passes through.
An effect is z_s · d(target)/d(z_s): positive where the part's presence raises the target, so that ablating it changes
the target by minus the effect.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.targets import LogitTarget, Target
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.splice import Splice, probed, spliced_logits
from tasks.model.language_model import LanguageModel
from tasks.model.smaller_batches import in_smaller_batches, split

Gradients = dict[int, Float[Tensor, "batch pos d_write"]]
"""Per layer: the derivative of a target with respect to what the layer's dictionary writes."""


def target_values(
    model: LanguageModel,
    tokens: Int[Tensor, "batch pos"] | Float[Tensor, "batch pos d"],
    dictionaries: DictionarySet,
    splices: Sequence[Splice],
    target: Target,
) -> Float[Tensor, " batch"]:
    """The target in the live model under `splices`: a logit (difference), or a feature's pre-activation."""
    if isinstance(target, LogitTarget):
        return target.value(spliced_logits(model, tokens, splices))
    dictionary, reads = dictionaries[target.layer], list[Tensor]()
    spliced_logits(model, tokens, probed(splices, dictionary, reads.append))
    index = torch.tensor([target.index], device=model.device)
    read = reads[0][:, target.position].float()
    return read @ dictionary.read_vectors(index)[0] + dictionary.read_bias(index)


def predicted_effects(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    features: ActiveFeatures,
    target: Target,
) -> Float[Tensor, " n"]:
    """The total effect of each feature on the target: one forward and one backward pass for all of them."""
    batch = model.token_tensor(tokens)
    deltas = _zero_writes(model, dictionaries, batch.shape)
    splices = [_added(dictionaries[layer], delta) for layer, delta in deltas.items()]
    value = target_values(model, batch, dictionaries, splices, target).sum()
    found = torch.autograd.grad(value, list(deltas.values()), allow_unused=True, materialize_grads=True)
    gradients = dict(zip(deltas, found, strict=True))
    return _times_writes(dictionaries, features, gradients)[0]


@dataclass(frozen=True)
class EffectRows:
    """Direct effects: what a source does to a target along paths through no other dictionary feature."""

    of_features: Float[Tensor, "target source"]
    of_tokens: Float[Tensor, "target pos"]


def direct_effects(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    sources: ActiveFeatures,
    targets: ActiveFeatures,
    roots: Sequence[Target],
    *,
    first_position: bool = False,
    batch: int = 32,
    advance: Callable[[float], None] = lambda _: None,
) -> EffectRows:
    """Direct effects of `sources` and tokens on the activations of `targets` (rows first) and on `roots`.

    Features are held by a stop-gradient at every position that has sources, so that path sums over these rows equal
    the total derivative.
    """
    start = 0 if first_position else 1

    def effects(rows: range) -> tuple[Tensor, Tensor]:
        block = _Block(model, tokens, dictionaries, start, len(rows))
        gradients, of_embeddings = block.backward(block.run(targets, roots, rows))
        return _times_writes(dictionaries, sources, gradients), (of_embeddings * block.embeddings.detach()).sum(-1)

    features: list[Tensor] = []
    embeddings: list[Tensor] = []
    for rows, (of_features, of_tokens) in in_smaller_batches(split(range(len(targets) + len(roots)), batch), effects):
        features.append(of_features)
        embeddings.append(of_tokens)
        advance(len(rows))
    return EffectRows(torch.cat(features), torch.cat(embeddings))


class _Block:
    """One batched run in which every row has a target of its own."""

    def __init__(
        self, model: LanguageModel, tokens: Sequence[int], dictionaries: DictionarySet, start: int, n_rows: int
    ) -> None:
        self.model = model
        self.dictionaries = dictionaries
        self.start = start
        ids = model.token_tensor(tokens).expand(n_rows, -1)
        self.embeddings = model.embedding(ids).detach().requires_grad_()
        self.deltas = _zero_writes(model, dictionaries, ids.shape)
        self.read: dict[int, Tensor] = {}

    def run(self, targets: ActiveFeatures, roots: Sequence[Target], rows: range) -> Float[Tensor, ""]:
        """The sum over rows of each row's own target."""
        splices = [self._held(self.dictionaries[layer], delta) for layer, delta in self.deltas.items()]
        out = spliced_logits(self.model, self.embeddings, splices)
        total = out.new_zeros(())
        for row, number in enumerate(rows):
            root = roots[number - len(targets)] if number >= len(targets) else None
            if isinstance(root, LogitTarget):
                total = total + root.value(out[row])
                continue
            feature = targets.take(torch.tensor([number])) if root is None else root.as_feature(out.device)
            read = self.read[int(feature.layer)][row, int(feature.position)]
            total = total + (self.dictionaries[int(feature.layer)].read_vectors(feature.index)[0] * read).sum()
        return total

    def backward(self, value: Float[Tensor, ""]) -> tuple[Gradients, Tensor]:
        """Gradients at every layer's writes and at the embeddings; zero where a target lies below."""
        leaves = [*self.deltas.values(), self.embeddings]
        *of_writes, of_embeddings = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
        return dict(zip(self.deltas, of_writes, strict=True)), of_embeddings

    def _held(self, dictionary: Dictionary, delta: Tensor) -> Splice:
        """Features held by a stop-gradient; the error and a linear bypass pass: D(z).detach() + (h - D(z)) + delta."""

        def change(read: Tensor, write: Tensor) -> Tensor:
            self.read[dictionary.layer] = read.float()
            rebuilt = dictionary.decode(dictionary.encode(read.float())).to(write.dtype)
            held = rebuilt.detach() + (write - rebuilt)
            return torch.cat([write[:, : self.start], held[:, self.start :]], dim=1) + delta

        return Splice(dictionary.layer, dictionary.reads, dictionary.writes, change)


def _added(dictionary: Dictionary, delta: Tensor) -> Splice:
    return Splice(dictionary.layer, dictionary.reads, dictionary.writes, lambda _read, write: write + delta)


def _zero_writes(model: LanguageModel, dictionaries: DictionarySet, shape: torch.Size) -> Gradients:
    return {
        layer: torch.zeros(
            *shape, dictionary.write_bias.shape[0], device=model.device, dtype=model.dtype, requires_grad=True
        )
        for layer, dictionary in dictionaries.layers.items()
    }


def _times_writes(
    dictionaries: DictionarySet, sources: ActiveFeatures, gradients: Gradients
) -> Float[Tensor, "batch n"]:
    """activation · ⟨gradient at the source's position, write vector⟩ for every batch row and source."""
    n_rows = next(iter(gradients.values())).shape[0]
    effects = sources.activation.new_zeros(n_rows, len(sources))
    places = list(zip(sources.layer.tolist(), sources.position.tolist(), strict=True))
    for (layer, position), group in groupby(range(len(places)), key=places.__getitem__):
        members = torch.tensor(list(group), device=effects.device)
        gradient = gradients[layer][:, position].float()
        effects[:, members] = dictionaries[layer].writes_through(sources.index[members], gradient).T
    return effects * sources.activation
