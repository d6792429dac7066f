"""The SHARE sweep: a block of targets pulled back through the frozen model by hand, layers descending (METHOD §3).

With G the gradient of a target with respect to the residual stream, an edge is ⟨G at the source's position, what the
source writes⟩. No autograd and no hooks: given the frozen quantities every step is a matrix product.
"""

from copy import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.frozen import FrozenRun
from tasks.circuits.linearise import LinearNeurons, Rule, linearise
from tasks.circuits.nodes import ActiveFeatures, LayerSources, Sources
from tasks.circuits.targets import TargetRows, feature_rows, through_neurons
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class ShareRows:
    """A block of the adjacency: what each target's value is made of."""

    shares: Float[Tensor, "row column"]
    """Features, errors, tokens (the columns of `Sources`)."""
    bias: Float[Tensor, " row"]
    """Constants, and what positions that are no sources write."""
    value: Float[Tensor, " row"]

    @property
    def gap(self) -> Float[Tensor, " row"]:
        """|sum of the row - value|: rounding, if the row closes."""
        return (self.shares.double().sum(1) + self.bias - self.value).abs().float()


class Sweep:
    """Everything that pulling back needs for one prompt, computed once."""

    def __init__(
        self, model: LanguageModel, run: FrozenRun, dictionaries: DictionarySet, sources: Sources, rule: Rule
    ) -> None:
        """Linearise every layer of `run` under `rule`."""
        self.model = model
        self.run = run
        self.dictionaries = dictionaries
        self.sources = sources
        self.neurons: list[LinearNeurons] = [
            linearise(layer.gate, layer.up, model.activation, rule) for layer in run.layers
        ]

    def with_sources(self, sources: Sources) -> "Sweep":
        """The same frozen run, linearised the same way, with other leaves."""
        other = copy(self)
        other.sources = sources
        return other

    def feature_rows(self, features: ActiveFeatures) -> TargetRows:
        """The targets that stand for these features."""
        return feature_rows(self.model, self.run, self.dictionaries, self.neurons, features)

    def pull_back(self, rows: TargetRows, *, through_dictionaries: bool = False) -> ShareRows:
        """The adjacency rows of a block of targets.

        Features and errors are leaves, unless `through_dictionaries`: then every MLP passes the gradient on, and a
        feature's entry is its share along all paths, not only the direct one.
        """
        n_positions = int(rows.position.max()) + 1
        gradient = rows.vector.new_zeros(len(rows), n_positions, rows.vector.shape[1])
        shares = rows.vector.new_zeros(len(rows), self.sources.n_columns)
        bias = rows.constant.clone()
        top = int(rows.layer.max())
        _start(gradient, rows, top)
        for layer in range(min(top, self.model.n_layers - 1), -1, -1):
            if layer < top:
                through = self._through_mlp(layer, gradient, shares, bias, through_dictionaries)
                gradient += through
                _start(gradient, rows, layer)
            self._through_attention(layer, gradient, bias)
        first = self.sources.first_token
        shares[:, first : first + n_positions] = torch.einsum("rpd,pd->rp", gradient, self.run.embeddings[:n_positions])
        return ShareRows(shares, bias, rows.value)

    def _through_mlp(self, layer: int, gradient: Tensor, shares: Tensor, bias: Tensor, through: bool) -> Tensor:
        """Score what the MLP of `layer` writes, and return the gradient that it passes on."""
        frozen = self.run.layers[layer]
        n_positions = gradient.shape[1]
        of_output = gradient
        if frozen.mlp_output_scale is not None:
            of_output = gradient * frozen.mlp_output_scale[:n_positions]
        leaves = self.sources.layers.get(layer)
        if leaves is not None:
            self._score(layer, leaves, of_output, shares, bias if not through else torch.zeros_like(bias))
        if leaves is None or through:
            return self._pass_mlp(layer, of_output, bias)
        skip = self.dictionaries[layer].skip if layer in self.dictionaries else None
        if skip is None:
            return torch.zeros_like(gradient)
        return (of_output @ skip) * frozen.mlp_norm_scale[:n_positions]

    def _score(self, layer: int, leaves: LayerSources, of_output: Tensor, shares: Tensor, bias: Tensor) -> None:
        """Fill the columns of one layer's features and errors."""
        n_positions = of_output.shape[1]
        for position in range(n_positions):
            edges = of_output[:, position] @ leaves.writes[position].T
            torch.mul(edges, leaves.activation[position], out=shares[:, leaves.columns[position]])
        first = self.sources.first_error + layer * self.run.n_positions
        shares[:, first : first + n_positions] = torch.einsum("rpd,pd->rp", of_output, leaves.error[:n_positions])
        bias += torch.einsum("rpd,pd->r", of_output, leaves.bias[:n_positions])

    def _pass_mlp(self, layer: int, of_output: Tensor, bias: Tensor) -> Tensor:
        """The gradient through an MLP that has no dictionary, by the same closing rule."""
        modules = self.model.layers[layer].down
        n_rows, n_positions, _ = of_output.shape
        of_hidden = of_output @ modules.weight.detach().float()
        position = torch.arange(n_positions, device=of_output.device).repeat(n_rows)
        vector, constant = through_neurons(self.model, layer, self.neurons[layer], position, of_hidden.flatten(0, 1))
        bias += constant.view(n_rows, n_positions).sum(1)
        if modules.bias is not None:
            bias += (of_output @ modules.bias.detach().float()).sum(1)
        return vector.view_as(of_output) * self.run.layers[layer].mlp_norm_scale[:n_positions]

    def _through_attention(self, layer: int, gradient: Tensor, bias: Tensor) -> None:
        """Add to `gradient` what comes back through the frozen attention of `layer` (values and outputs only)."""
        frozen = self.run.layers[layer]
        modules = self.model.layers[layer]
        n_rows, n_positions, _ = gradient.shape
        of_output = gradient
        if frozen.attention_output_scale is not None:
            of_output = gradient * frozen.attention_output_scale[:n_positions]
        if modules.output.bias is not None:
            bias += (of_output @ modules.output.bias.detach().float()).sum(1)
        pattern = frozen.attention_pattern[:, :n_positions, :n_positions]
        n_heads = pattern.shape[0]
        value_weight = modules.value.weight.detach().float()
        of_heads = (of_output @ modules.output.weight.detach().float()).view(n_rows, n_positions, n_heads, -1)
        of_values = torch.einsum("hqk,rqhe->rkhe", pattern, of_heads)
        n_groups = value_weight.shape[0] // of_values.shape[-1]
        of_values = of_values.unflatten(2, (n_groups, -1)).sum(3).flatten(2)
        if modules.value.bias is not None:
            bias += (of_values @ modules.value.bias.detach().float()).sum(1)
        gradient += (of_values @ value_weight) * frozen.attention_norm_scale[:n_positions]


def _start(gradient: Tensor, rows: TargetRows, layer: int) -> None:
    """Put the vectors of the rows that begin at `layer` at their positions."""
    chosen = (rows.layer == layer).nonzero().squeeze(1)
    gradient[chosen, rows.position[chosen]] += rows.vector[chosen]
