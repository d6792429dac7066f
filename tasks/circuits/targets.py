"""What a graph explains: logits, and (as its own nodes) feature pre-activations. One row of the adjacency each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from store.errors import BadInput
from tasks.circuits.frozen import FrozenRun
from tasks.circuits.linearise import LinearNeurons
from tasks.circuits.nodes import ActiveFeatures, read_value
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Site
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class LogitTarget:
    """A logit against the mean of all logits, or against one rival, at one position."""

    token: int
    position: int
    probability: float
    rival: int | None = None

    def direction(self, model: LanguageModel) -> Float[Tensor, " d"]:
        """The unembedding direction: W_U[token] - W_U[rival], or minus the vocabulary's mean."""
        weight = model.unembedding_weight
        other = weight.float().mean(0) if self.rival is None else weight[self.rival].float()
        return weight[self.token].float() - other

    def value(self, logits: Float[Tensor, "*batch pos vocab"]) -> Float[Tensor, "*batch"]:
        """The target's value in nats from logits."""
        row = logits[..., self.position, :]
        other = row.mean(-1) if self.rival is None else row[..., self.rival]
        return row[..., self.token] - other


def salient_logits(
    run: FrozenRun, probabilities: Float[Tensor, "pos vocab"], max_logits: int, logit_probability: float
) -> list[LogitTarget]:
    """The most probable next tokens at the last position, at most `max_logits`, up to a cumulative probability."""
    position = run.n_positions - 1
    top = probabilities[position].topk(min(max_logits, probabilities.shape[1]))
    reached = int((top.values.cumsum(0) < logit_probability).sum()) + 1  # a slice may reach past the end
    chosen = zip(top.indices[:reached].tolist(), top.values[:reached].tolist(), strict=True)
    return [LogitTarget(token, position, probability) for token, probability in chosen]


def named_logit(
    model: LanguageModel,
    run: FrozenRun,
    probabilities: Float[Tensor, "pos vocab"],
    target: str,
    versus: str | None = None,
) -> LogitTarget:
    """The logit of a named token (against a named rival); `BadInput` if a name is not one token."""
    token = model.single_token(target)
    rival = None if versus is None else model.single_token(versus)
    if token == rival:
        raise BadInput(f"target and rival are both {target!r}", "name two different tokens")
    position = run.n_positions - 1
    return LogitTarget(token, position, float(probabilities[position, token]), rival)


@dataclass(frozen=True)
class TargetRows:
    """A block of targets as vectors in the residual stream, ready to be pulled back."""

    layer: Int[Tensor, " row"]
    """Where a row starts: before the MLP of this layer; n_layers for logits."""
    position: Int[Tensor, " row"]
    vector: Float[Tensor, "row d"]
    """Norm scale included."""
    constant: Float[Tensor, " row"]
    """The part of the value that no source upstream writes: read bias, gate and up biases."""
    value: Float[Tensor, " row"]
    """The centred logit or pre-activation that the row must sum to."""

    def __len__(self) -> int:
        return len(self.layer)


def logit_rows(model: LanguageModel, run: FrozenRun, targets: Sequence[LogitTarget]) -> TargetRows:
    """Rows for logits: (W_U[k] - mean W_U) through the frozen final norm."""
    device = run.embeddings.device
    position = torch.tensor([target.position for target in targets], device=device)
    vectors = torch.stack([target.direction(model) for target in targets])
    return TargetRows(
        layer=torch.full_like(position, model.n_layers),
        position=position,
        vector=vectors * run.final_norm_scale[position],
        constant=vectors.new_zeros(len(targets)),
        value=torch.stack([target.value(run.logits) for target in targets]),
    )


def feature_rows(
    model: LanguageModel,
    run: FrozenRun,
    dictionaries: DictionarySet,
    neurons: Sequence[LinearNeurons],
    features: ActiveFeatures,
) -> TargetRows:
    """Rows for feature pre-activations: the read vector through the linearised neurons and the frozen MLP norm."""
    vector = run.embeddings.new_zeros(len(features), run.embeddings.shape[1])
    constant = vector.new_zeros(len(features))
    value = vector.new_zeros(len(features))
    for layer in features.layer.unique().tolist():
        rows = (features.layer == layer).nonzero().squeeze(1)
        dictionary, frozen = dictionaries[layer], run.layers[layer]
        index, position = features.index[rows], features.position[rows]
        read = dictionary.read_vectors(index).float()
        bias = dictionary.read_bias(index).float()
        value[rows] = (read * read_value(dictionary, frozen)[position]).sum(-1) + bias
        if dictionary.reads is Site.MLP_HIDDEN:
            read, extra = through_neurons(model, layer, neurons[layer], position, read)
            bias = bias + extra
        vector[rows] = read * frozen.mlp_norm_scale[position]
        constant[rows] = bias
    return TargetRows(features.layer, features.position, vector, constant, value)


def through_neurons(
    model: LanguageModel,
    layer: int,
    neurons: LinearNeurons,
    position: Int[Tensor, " row"],
    of_hidden: Float[Tensor, "row m"],
) -> tuple[Float[Tensor, "row d"], Float[Tensor, " row"]]:
    """A direction e in h as one in u, r = W_gᵀ(e·c_g) + W_uᵀ(e·c_u), and the constant that gate and up biases add."""
    modules = model.layers[layer]
    of_gate = of_hidden * neurons.of_gate[position]
    of_up = of_hidden * neurons.of_up[position]
    vector = of_gate @ modules.gate.weight.detach().float() + of_up @ modules.up.weight.detach().float()
    constant = vector.new_zeros(len(vector))
    for part, linear in ((of_gate, modules.gate), (of_up, modules.up)):
        if linear.bias is not None:
            constant = constant + part @ linear.bias.detach().float()
    return vector, constant
