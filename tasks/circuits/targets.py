"""What a graph explains: logits, and (as its own nodes) feature pre-activations. One row of the adjacency each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    rank: int = 0
    """How many tokens are more probable."""

    def direction(self, model: LanguageModel) -> Float[Tensor, " d"]:
        """The unembedding direction: W_U[token] - W_U[rival], or minus the vocabulary's mean."""
        weight = model.unembedding_weight
        other = model.mean_unembedding if self.rival is None else weight[self.rival].float()
        return weight[self.token].float() - other

    def value(self, logits: Float[Tensor, "*batch pos vocab"]) -> Float[Tensor, "*batch"]:
        """The target's value in nats from logits."""
        row = logits[..., self.position, :]
        other = row.mean(-1) if self.rival is None else row[..., self.rival]
        return row[..., self.token] - other

    def value_after(self, run: FrozenRun) -> Float[Tensor, ""]:
        """The target's value in nats in the unmodified model."""
        return replace(self, position=0).value(run.logits_at([self.position]))

    def layer_in(self, n_layers: int) -> int:
        """The layer of its node: above all layers."""
        return n_layers


@dataclass(frozen=True)
class FeatureTarget:
    """The pre-activation of one feature at one position."""

    layer: int
    index: int
    position: int
    activation: float
    probability: float = 1.0
    """Its weight among targets: all of it, being the only one."""

    def layer_in(self, n_layers: int) -> int:
        """The layer of its node: the feature's own."""
        return self.layer

    @property
    def name(self) -> str:
        """`L12/345@7`."""
        return f"L{self.layer}/{self.index}@{self.position}"

    def as_feature(self, device: torch.device) -> ActiveFeatures:
        """The same as a table of one feature."""
        layer, position, index = (torch.tensor([n], device=device) for n in (self.layer, self.position, self.index))
        return ActiveFeatures(layer, position, index, torch.tensor([self.activation], device=device))


Target = LogitTarget | FeatureTarget
"""What a graph explains."""


def target_columns(
    targets: Sequence[Target],
    logits_at: Callable[[int], Float[Tensor, "row 1 vocab"]],
    value_of: Callable[[FeatureTarget], Float[Tensor, " row"]],
) -> Float[Tensor, "row target"]:
    """The targets' values: of logits at a position, unembedded once for all targets there, and of features."""
    unembedded: dict[int, Tensor] = {}
    columns = []
    for target in targets:
        if isinstance(target, FeatureTarget):
            columns.append(value_of(target))
            continue
        if target.position not in unembedded:
            unembedded[target.position] = logits_at(target.position)
        columns.append(replace(target, position=0).value(unembedded[target.position]))
    return torch.stack(columns, dim=1)


def salient_logits(
    probabilities: Float[Tensor, " vocab"], position: int, max_logits: int, logit_probability: float
) -> list[LogitTarget]:
    """The most probable next tokens after `position`, at most `max_logits`, up to a cumulative probability."""
    top = probabilities.topk(min(max_logits, len(probabilities)))
    reached = int((top.values.cumsum(0) < logit_probability).sum()) + 1  # a slice may reach past the end
    chosen = zip(top.indices[:reached].tolist(), top.values[:reached].tolist(), strict=True)
    return [LogitTarget(token, position, p, rank=rank) for rank, (token, p) in enumerate(chosen)]


def named_logit(
    model: LanguageModel,
    probabilities: Float[Tensor, " vocab"],
    position: int,
    target: str,
    versus: str | None = None,
) -> LogitTarget:
    """The logit of a named token (against a named rival) after `position`; `BadInput` if a name is not one token."""
    token = model.single_token(target)
    rival = None if versus is None else model.single_token(versus)
    if token == rival:
        raise BadInput(f"target and rival are both {target!r}", "name two different tokens")
    rank = int((probabilities > probabilities[token]).sum())
    return LogitTarget(token, position, float(probabilities[token]), rival, rank)


def feature_target(active: ActiveFeatures, layer: int, index: int, position: int) -> FeatureTarget:
    """A feature that is active at a position; `BadInput` if it is not."""
    here = (active.layer == layer) & (active.index == index)
    row = (here & (active.position == position)).nonzero().flatten().tolist()
    if not row:
        elsewhere = ", ".join(str(at) for at in active.position[here].tolist())
        mend = f"it is active at {elsewhere}" if elsewhere else "it is active nowhere in this prompt"
        raise BadInput(f"L{layer}/{index} is not active at position {position}", mend)
    return FeatureTarget(layer, index, position, float(active.activation[row[0]]))


@dataclass(frozen=True)
class TargetRows:
    """A block of targets as vectors in the residual stream, ready to be pulled back."""

    start: Int[Tensor, " row"]
    """How many sublayers lie below the row: 2·layer of a block's input, 2·layer + 1 of its MLP; logits 2·n_layers."""
    position: Int[Tensor, " row"]
    vector: Float[Tensor, "row d"]
    """Norm scale included."""
    constant: Float[Tensor, " row"]
    """The part of the value that no source upstream writes: read bias, gate and up biases."""
    value: Float[Tensor, " row"]
    """The centred logit or pre-activation that the row must sum to."""

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Int[Tensor, " k"]) -> "TargetRows":
        """These rows, in this order."""
        return TargetRows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @classmethod
    def join(cls, parts: Sequence["TargetRows"]) -> "TargetRows":
        """All rows of several blocks."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def logit_rows(model: LanguageModel, run: FrozenRun, targets: Sequence[LogitTarget]) -> TargetRows:
    """Rows for logits: (W_U[k] - mean W_U) through the frozen final norm."""
    device = run.embeddings.device
    position = torch.tensor([target.position for target in targets], device=device)
    vectors = torch.stack([target.direction(model) for target in targets])
    return TargetRows(
        start=torch.full_like(position, 2 * model.n_layers),
        position=position,
        vector=vectors * run.final_norm_scale[position],
        constant=vectors.new_zeros(len(targets)),
        value=torch.stack([target.value_after(run) for target in targets]),
    )


def feature_rows(
    model: LanguageModel,
    run: FrozenRun,
    dictionaries: DictionarySet,
    neurons_of: Callable[[int], LinearNeurons],
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
            read, extra = through_neurons(model, layer, neurons_of(layer), position, read)
            bias = bias + extra
        vector[rows] = read * frozen.mlp_norm_scale[position]
        constant[rows] = bias
    return TargetRows(2 * features.layer + 1, features.position, vector, constant, value)


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
