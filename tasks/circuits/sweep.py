"""The SHARE sweep: a block of targets pulled back through the frozen model by hand, layers descending (METHOD §3).

With G the gradient of a target with respect to the residual stream, an edge is ⟨G at the source's position, what the
source writes⟩. No autograd and no hooks: given the frozen quantities every step is a matrix product. Only the causal
cone is computed: positions up to the block's last, and each row from the sublayer at which it starts.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.frozen import FrozenRun
from tasks.circuits.linearise import LinearNeurons, Rule, linearise
from tasks.circuits.nodes import ActiveFeatures, LayerSources, Sources
from tasks.circuits.targets import LogitTarget, Target, TargetRows, feature_rows, logit_rows
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.model.language_model import LanguageModel

Observer = Callable[[int, Tensor], None]
"""Told (layer, gradient [row, pos, d] with respect to the residual stream after that layer's attention) before the
gradient goes through that attention. The tensor is changed afterwards: keep a copy."""


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
        return (self.shares.sum(1, dtype=torch.float64) + self.bias - self.value).abs().float()


class Sweep:
    """Everything that pulling back needs for one prompt, computed once."""

    def __init__(
        self,
        model: LanguageModel,
        run: FrozenRun,
        dictionaries: DictionarySet,
        sources: Sources,
        rule: Rule,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Linearise every layer of `run` under `rule`. `check` is called at every sublayer: it may raise to stop."""
        self.model = model
        self.run = run
        self.dictionaries = dictionaries
        self.sources = sources
        self.check = check
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

    def target_rows(self, targets: Sequence[Target]) -> TargetRows:
        """The rows of what a graph explains, in order."""
        parts = []
        for target in targets:
            if isinstance(target, LogitTarget):
                parts.append(logit_rows(self.model, self.run, [target]))
            else:
                parts.append(self.feature_rows(target.as_feature(self.run.embeddings.device)))
        return TargetRows.join(parts)

    def bytes_per_row(self) -> int:
        """About how much one row of a block takes while it is pulled back."""
        widths = 3 * self.model.d_model + 3 * self.model.layers[0].output.in_features
        if len(self.sources.layers) < self.model.n_layers:
            widths += 3 * self.model.d_mlp
        return 4 * (self.run.n_positions * widths + 3 * self.sources.n_columns)

    def pull_back(
        self,
        rows: TargetRows,
        *,
        through_dictionaries: bool = False,
        through_attention: bool = True,
        observe: Observer | None = None,
    ) -> ShareRows:
        """The adjacency rows of a block of targets.

        Features and errors are leaves, unless `through_dictionaries`: then every MLP passes the gradient on, and a
        feature's entry is its share along all paths, not only the direct one. Without `through_attention` only the
        paths count that stay at their position (such rows do not close).
        """
        order = rows.start.argsort(descending=True, stable=True)
        block = _Block(self, rows.take(order), through_dictionaries, through_attention, observe)
        block.run()
        if bool((order.diff() == 1).all()):
            return ShareRows(block.shares, block.bias, rows.value)
        back = order.argsort()
        return ShareRows(block.shares[back], block.bias[back], rows.value)


class _Block:
    """A block on its way down; rows are sorted so that those that have started come first."""

    def __init__(
        self, sweep: Sweep, rows: TargetRows, through_dictionaries: bool, attention: bool, observe: Observer | None
    ) -> None:
        self.sweep = sweep
        self.rows = rows
        self.through_dictionaries = through_dictionaries
        self.attention = attention
        self.observe = observe
        self.n_positions = int(rows.position.max()) + 1
        self.gradient = rows.vector.new_zeros(len(rows), self.n_positions, rows.vector.shape[1])
        self.shares = rows.vector.new_zeros(len(rows), sweep.sources.n_columns)
        self.bias = rows.constant.clone()

    def run(self) -> None:
        """Every sublayer from the top, then the token embeddings."""
        starts = self.rows.start.tolist()
        begun = 0
        for sublayer in range(starts[0] - 1, -1, -1):
            self.sweep.check()
            inside = sum(start > sublayer for start in starts)
            self._begin(begun, inside)
            begun = inside
            layer, is_mlp = divmod(sublayer, 2)
            if is_mlp:
                self._through_mlp(layer, begun)
            else:
                if self.observe is not None:
                    self.observe(layer, self.gradient)
                if self.attention:
                    self._through_attention(layer, begun)
        self._begin(begun, len(starts))
        first = self.sweep.sources.first_token
        embeddings = self.sweep.run.embeddings[: self.n_positions]
        self.shares[:, first : first + self.n_positions] = _at_each_position(self.gradient, embeddings)

    def _begin(self, first: int, last: int) -> None:
        """Put the vectors of the rows from `first` to `last` at their positions."""
        if first < last:
            rows = torch.arange(first, last, device=self.gradient.device)
            self.gradient[rows, self.rows.position[rows]] = self.rows.vector[rows]

    def _through_mlp(self, layer: int, begun: int) -> None:
        """Score what the MLP of `layer` writes, and add the gradient that it passes on."""
        sweep, frozen, gradient = self.sweep, self.sweep.run.layers[layer], self.gradient[:begun]
        of_output = gradient
        if frozen.mlp_output_scale is not None:
            of_output = gradient * frozen.mlp_output_scale[: self.n_positions]
        leaves = sweep.sources.layers.get(layer)
        if leaves is not None:
            self._score(layer, leaves, of_output)
        if leaves is None or self.through_dictionaries:
            passed = self._pass_mlp(layer, of_output)
        else:
            skip = sweep.dictionaries[layer].skip if layer in sweep.dictionaries else None
            if skip is None:
                return
            passed = of_output @ skip
        gradient.addcmul_(passed, frozen.mlp_norm_scale[: self.n_positions])

    def _score(self, layer: int, leaves: LayerSources, of_output: Tensor) -> None:
        """Fill the columns of one layer's features and errors."""
        begun, n_positions = len(of_output), self.n_positions
        for position in range(n_positions):
            columns = leaves.columns[position]
            if columns.start < columns.stop:
                leaves.score(position, of_output[:, position], self.shares[:begun, columns])
        first = self.sweep.sources.first_error + layer * self.sweep.run.n_positions
        errors = _at_each_position(of_output, leaves.error[:n_positions])
        self.shares[:begun, first : first + n_positions] = errors
        if not self.through_dictionaries:
            self.bias[:begun] += of_output.flatten(1) @ leaves.bias[:n_positions].flatten()

    def _pass_mlp(self, layer: int, of_output: Tensor) -> Tensor:
        """The gradient through an MLP that has no dictionary, by the same closing rule, up to its norm."""
        modules, neurons = self.sweep.model.layers[layer], self.sweep.neurons[layer]
        begun, n_positions = len(of_output), self.n_positions
        of_hidden = of_output @ modules.down.weight.detach().float()
        if modules.down.bias is not None:
            self.bias[:begun] += (of_output @ modules.down.bias.detach().float()).sum(1)
        passed = torch.zeros_like(of_output)
        for part, linear in ((neurons.of_gate, modules.gate), (neurons.of_up, modules.up)):
            of_branch = of_hidden * part[:n_positions]
            passed += of_branch @ linear.weight.detach().float()
            if linear.bias is not None:
                self.bias[:begun] += (of_branch @ linear.bias.detach().float()).sum(1)
        return passed

    def _through_attention(self, layer: int, begun: int) -> None:
        """Add what comes back through the frozen attention of `layer` (values and outputs only)."""
        frozen, modules = self.sweep.run.layers[layer], self.sweep.model.layers[layer]
        n_positions, gradient = self.n_positions, self.gradient[:begun]
        of_output = gradient
        if frozen.attention_output_scale is not None:
            of_output = gradient * frozen.attention_output_scale[:n_positions]
        bias = self.bias[:begun]
        if modules.output.bias is not None:
            bias += (of_output @ modules.output.bias.detach().float()).sum(1)
        value_weight = modules.value.weight.detach().float()
        pattern = frozen.attention_pattern[:, :n_positions, :n_positions]
        of_heads = of_output @ modules.output.weight.detach().float()
        d_head = of_heads.shape[-1] // len(pattern)
        n_groups = value_weight.shape[0] // d_head
        of_values = torch.einsum(
            "ghqk,rqghe->rkge",
            pattern.unflatten(0, (n_groups, -1)),
            of_heads.view(begun, n_positions, n_groups, -1, d_head),
        ).flatten(2)
        if modules.value.bias is not None:
            bias += (of_values @ modules.value.bias.detach().float()).sum(1)
        gradient.addcmul_(of_values @ value_weight, frozen.attention_norm_scale[:n_positions])


def _at_each_position(gradient: Tensor, written: Float[Tensor, "pos d"]) -> Float[Tensor, "row pos"]:
    """⟨gradient, what is written⟩ at each position."""
    return torch.einsum("rpd,pd->rp", gradient, written)
