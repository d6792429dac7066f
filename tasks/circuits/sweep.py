"""The SHARE sweep: a block of targets pulled back through the frozen model by hand, layers descending (METHOD §3).

With G the gradient of a target with respect to the residual stream, an edge is ⟨G at the source's position, what the
source writes⟩. No autograd and no hooks: given the frozen quantities every step is a matrix product. Only the causal
cone is computed: each row at positions up to its own, from the sublayer at which it starts; until the first attention
below it at its own position alone; and position 0 in closed form where that is no source.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.cone import NOWHERE, Cone
from tasks.circuits.first_position import CONSTANTS, TOKEN, is_no_source, values_at_first
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
        """Ready to pull back through `run` under `rule`. `check` is called at every sublayer: it may raise to stop."""
        self.model = model
        self.run = run
        self.dictionaries = dictionaries
        self.sources = sources
        self.rule = rule
        self.check = check
        self._neurons: dict[int, LinearNeurons] = {}
        self._at_first: list[Tensor] | None = None

    def neurons_of(self, layer: int) -> LinearNeurons:
        """The coefficients of one layer's neurons, computed on first need."""
        if layer not in self._neurons:
            frozen = self.run.layers[layer]
            self._neurons[layer] = linearise(frozen.gate, frozen.up, self.model.activation, self.rule)
        return self._neurons[layer]

    def values_at_first(self) -> list[Float[Tensor, "2 width"]]:
        """`first_position.values_at_first` of this sweep, computed on first need; none if position 0 is a source."""
        if self._at_first is None:
            closed = is_no_source(self.sources)
            given = self.model, self.run, self.dictionaries, self.sources, self.neurons_of
            self._at_first = values_at_first(*given) if closed else []
        return self._at_first

    def with_sources(self, sources: Sources) -> "Sweep":
        """The same frozen run, linearised the same way, with other leaves."""
        other = copy(self)
        other.sources, other._at_first = sources, None
        return other

    def feature_rows(self, features: ActiveFeatures) -> TargetRows:
        """The targets that stand for these features."""
        return feature_rows(self.model, self.run, self.dictionaries, self.neurons_of, features)

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
        modules = self.model.layers[0]
        widths = 2 * self.model.d_model + 2 * (modules.output.in_features + modules.value.out_features)
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
        plain = through_attention and not through_dictionaries and observe is None and int(rows.position.min()) > 0
        at_first = self.values_at_first() if plain else []
        block = _Block(self, rows.take(order), through_dictionaries, through_attention, observe, at_first)
        block.run()
        if bool((order.diff() == 1).all()):
            return ShareRows(block.shares, block.bias, rows.value)
        back = order.argsort()
        return ShareRows(block.shares[back], block.bias[back], rows.value)


class _Block:
    """A block on its way down; rows are sorted so that those that have started come first."""

    def __init__(
        self,
        sweep: Sweep,
        rows: TargetRows,
        through_dictionaries: bool,
        attention: bool,
        observe: Observer | None,
        at_first: list[Tensor],
    ) -> None:
        self.sweep = sweep
        self.rows = rows
        self.through_dictionaries = through_dictionaries
        self.attention = attention
        self.observe = observe
        self.at_first = at_first
        self.cone = Cone(rows.position, 1 if at_first else 0)
        self.carried = slice(self.cone.first, self.cone.n_positions)
        self.gradient = rows.vector.new_zeros(self.cone.ends[-1], rows.vector.shape[1])
        self.shares = rows.vector.new_zeros(len(rows), sweep.sources.n_columns)
        self.bias = rows.constant.clone()
        self.spread = 0
        """How many rows have been through an attention; the others are zero but at their own position."""

    def run(self) -> None:
        """Every sublayer from the top, then the token embeddings."""
        n_sublayers = int(self.rows.start[0])
        begun_at = torch.bincount(self.rows.start, minlength=n_sublayers + 1).flip(0).cumsum(0).flip(0).tolist()
        begun = 0
        for sublayer in range(n_sublayers - 1, -1, -1):
            self.sweep.check()
            self._begin(begun, begun_at[sublayer + 1])
            begun = begun_at[sublayer + 1]
            layer, is_mlp = divmod(sublayer, 2)
            if is_mlp:
                self._through_mlp(layer, begun)
            else:
                if self.observe is not None:
                    self.observe(layer, self._by_position(len(self.rows)).transpose(0, 1))
                if self.attention:
                    self._through_attention(layer, begun)
        self._begin(begun, len(self.rows))
        first = self.sweep.sources.first_token
        embeddings = self.sweep.run.embeddings[self.carried, :, None]
        of_tokens = self.shares[:, first + self.carried.start : first + self.carried.stop]
        of_tokens.copy_(torch.bmm(self._by_position(len(self.rows)), embeddings)[:, :, 0].T)

    def _begin(self, first: int, last: int) -> None:
        """Put the vectors of the rows from `first` to `last` at their positions."""
        if first < last:
            self.gradient[self.cone.last[first:last]] = self.rows.vector[first:last]

    def _by_position(self, begun: int) -> Float[Tensor, "pos begun d"]:
        """A copy of the gradient of the rows that have begun, at the positions that are carried."""
        slots = self.cone.slots[:, :begun]
        return self.gradient.index_select(0, slots.flatten()).view(*slots.shape, -1)

    def _begun_pairs(self, begun: int) -> tuple[Tensor, Tensor, Tensor]:
        """(gradient, row, position) of each slot of the rows that have begun."""
        n_slots = self.cone.ends[begun]
        return self.gradient[1:n_slots], self.cone.row[: n_slots - 1], self.cone.position[: n_slots - 1]

    def _through_mlp(self, layer: int, begun: int) -> None:
        """Score what the MLP of `layer` writes, and add the gradient that it passes on."""
        sweep, frozen = self.sweep, self.sweep.run.layers[layer]
        leaves = sweep.sources.layers.get(layer)
        if leaves is not None:
            self._score(layer, leaves, begun)
        passes = leaves is None or self.through_dictionaries
        skip = None if passes or layer not in sweep.dictionaries else sweep.dictionaries[layer].skip
        if not passes and skip is None:
            return
        gradient, row, position = self._begun_pairs(begun)
        of_output = gradient
        if frozen.mlp_output_scale is not None:
            of_output = gradient * frozen.mlp_output_scale[position]
        passed = self._pass_mlp(layer, of_output, row, position) if skip is None else of_output @ skip
        gradient.addcmul_(passed, frozen.mlp_norm_scale[position])

    def _score(self, layer: int, leaves: LayerSources, begun: int) -> None:
        """Fill the columns of one layer's features and errors."""
        scale, n_positions = self.sweep.run.layers[layer].mlp_output_scale, self.cone.n_positions
        gradient = self._by_position(begun)
        if scale is not None:
            gradient *= scale[self.carried, None]
        for of_output, position in zip(gradient, range(self.cone.first, n_positions), strict=True):
            columns = leaves.columns[position]
            if columns.start < columns.stop:
                leaves.score(position, of_output, self.shares[:begun, columns])
        first = self.sweep.sources.first_error + layer * self.sweep.run.n_positions
        of_written = torch.bmm(gradient, leaves.error_and_bias[self.carried])
        self.shares[:begun, first + self.cone.first : first + n_positions] = of_written[:, :, 0].T
        if not self.through_dictionaries:
            self.bias[:begun] += of_written.sum(0)[:, 1]

    def _pass_mlp(self, layer: int, of_output: Tensor, row: Tensor, position: Tensor) -> Tensor:
        """The gradient through an MLP that has no dictionary, by the same closing rule, up to its norm."""
        modules, neurons = self.sweep.model.layers[layer], self.sweep.neurons_of(layer)
        of_hidden = of_output @ modules.down.weight.detach().float()
        if modules.down.bias is not None:
            self.bias.index_add_(0, row, of_output @ modules.down.bias.detach().float())
        passed = torch.zeros_like(of_output)
        for part, linear in ((neurons.of_gate, modules.gate), (neurons.of_up, modules.up)):
            of_branch = part[position].mul_(of_hidden)
            passed.addmm_(of_branch, linear.weight.detach().float())
            if linear.bias is not None:
                self.bias.index_add_(0, row, of_branch @ linear.bias.detach().float())
        return passed

    def _through_attention(self, layer: int, begun: int) -> None:
        """Add what comes back through the frozen attention of `layer` (values and outputs only)."""
        modules, inverse = self.sweep.model.layers[layer], self.sweep.run.layers[layer].attention_norm_inverse
        of_values = self._of_values(layer, begun)
        if modules.value.bias is not None:
            bias = modules.value.bias.detach().float().view(len(of_values), 1, 1, -1)
            self.bias[:begun] += (of_values * (bias / inverse[: self.cone.n_positions, None])).sum((0, 1, 3))
        if self.at_first:
            values = (self.at_first[layer] / inverse[0]).view(2, len(of_values), -1)
            at_first = torch.bmm(of_values[:, 0], values.permute(1, 2, 0)).sum(0)
            self.shares[:begun, self.sweep.sources.first_token] += at_first[:, TOKEN]
            self.bias[:begun] += at_first[:, CONSTANTS]
        gradient, row, position = self._begun_pairs(begun)
        every = torch.arange(len(of_values), device=row.device) * len(of_values[0])
        place = (every + position[:, None]) * begun + row[:, None]
        packed = of_values.view(-1, modules.d_head).index_select(0, place.flatten()).view(len(row), -1)
        weight = modules.value.weight.detach().float()
        gradient.addmm_(packed, weight * self.sweep.model.norm_weight(modules.attention_norm).float())
        self.spread = begun

    def _of_values(self, layer: int, begun: int) -> Float[Tensor, "group pos begun e"]:
        """The gradient with respect to the values of each key-value head, times 1 / rms of what they read."""
        frozen, d_head = self.sweep.run.layers[layer], self.sweep.model.layers[layer].d_head
        of_heads = self._of_heads(layer, begun)
        pattern = frozen.attention_pattern[:, self.carried, : self.cone.n_positions]
        n_groups = self.sweep.model.layers[layer].value.out_features // d_head
        heads = torch.arange(len(pattern), device=of_heads.device)[:, None, None]
        slots = self.cone.fresh_slots(self.spread, begun) * len(pattern) + heads
        by_head = of_heads.view(-1, d_head).index_select(0, slots.flatten())
        pattern = pattern * frozen.attention_norm_inverse[: self.cone.n_positions, 0]
        mixing = pattern.view(n_groups, -1, self.cone.n_positions).transpose(1, 2)
        of_values = torch.bmm(mixing, by_head.view(n_groups, -1, begun * d_head))
        return of_values.view(n_groups, -1, begun, d_head)

    def _of_heads(self, layer: int, begun: int) -> Float[Tensor, "slot width"]:
        """The gradient with respect to what the heads put out, at the slots of `Cone.fresh_slots`."""
        frozen, modules = self.sweep.run.layers[layer], self.sweep.model.layers[layer]
        spread = self.cone.ends[self.spread]
        old, fresh = self.gradient[1:spread], self.gradient[self.cone.last[self.spread : begun]]
        if frozen.attention_output_scale is not None:
            old = old * frozen.attention_output_scale[self.cone.position[: spread - 1]]
            fresh = fresh * frozen.attention_output_scale[self.rows.position[self.spread : begun]]
        if modules.output.bias is not None:
            bias = modules.output.bias.detach().float()
            self.bias.index_add_(0, self.cone.row[: spread - 1], old @ bias)
            self.bias[self.spread : begun] += fresh @ bias
        weight = modules.output.weight.detach().float()
        of_heads = weight.new_empty(spread + len(fresh), weight.shape[1])
        of_heads[NOWHERE] = 0.0
        torch.mm(old, weight, out=of_heads[1:spread])
        torch.mm(fresh, weight, out=of_heads[spread:])
        return of_heads
