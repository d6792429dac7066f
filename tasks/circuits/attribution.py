"""A raw attribution graph: which nodes were attributed, and what each one's value is made of (METHOD §4).

Rows are written sparse: the largest edges of a row and the row's totals, never a row for every active neuron. Errors
and tokens are always kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.sweep import ShareRows, Sweep
from tasks.circuits.targets import LogitTarget, TargetRows, logit_rows

ROW_BUDGET_BYTES = 2**28
"""Bound on the feature edges held (8 bytes each) where more features are active than are attributed."""
FEWEST_EDGES = 1024
"""Edges kept of a row however many rows there are."""

Advance = Callable[[float], None]
"""Told how many rows were just attributed."""


@dataclass(frozen=True)
class Attribution:
    """Nodes [features | errors by layer·T + position | tokens | logits] and the edges between them."""

    features: ActiveFeatures
    """The attributed features, in column order."""
    n_active: int
    """How many features were active; the rest was not attributed."""
    n_layers: int
    n_positions: int
    logits: tuple[LogitTarget, ...]
    source: Int[Tensor, " edge"]
    target: Int[Tensor, " edge"]
    share: Float[Tensor, " edge"]
    """Raw and signed, in the units of the target's value."""
    bias: Float[Tensor, " row"]
    """Per target [features | logits]: the share of constants and of position 0."""
    unattributed: Float[Tensor, " row"]
    """Per target: the share of active features outside the budget."""
    value: Float[Tensor, " row"]
    """Per target: the pre-activation or centred logit."""
    closing_error: Float[Tensor, " row"]

    @property
    def first_error(self) -> int:
        """Node of the error of layer 0 at position 0."""
        return len(self.features)

    @property
    def first_token(self) -> int:
        """Node of the token at position 0."""
        return len(self.features) + self.n_layers * self.n_positions

    @property
    def first_logit(self) -> int:
        """Node of the first logit."""
        return self.first_token + self.n_positions

    @property
    def n_nodes(self) -> int:
        """Features, errors, tokens and logits."""
        return self.first_logit + len(self.logits)

    @property
    def logit_weights(self) -> Float[Tensor, " node"]:
        """Where influence starts: each logit by its probability; a single named target by one."""
        weights = self.share.new_zeros(self.n_nodes)
        single = len(self.logits) == 1
        weights[self.first_logit :] = weights.new_tensor([1.0 if single else each.probability for each in self.logits])
        return weights

    @property
    def node_layer(self) -> Int[Tensor, " node"]:
        """Layer of each node: -1 for tokens, n_layers for logits."""
        device = self.share.device
        errors = torch.arange(self.n_layers, device=device).repeat_interleave(self.n_positions)
        tokens = torch.full((self.n_positions,), -1, device=device)
        logits = torch.full((len(self.logits),), self.n_layers, device=device)
        return torch.cat([self.features.layer, errors, tokens, logits])

    @property
    def node_position(self) -> Int[Tensor, " node"]:
        """Token position of each node."""
        device = self.share.device
        every = torch.arange(self.n_positions, device=device)
        logits = torch.tensor([each.position for each in self.logits], device=device, dtype=torch.long)
        return torch.cat([self.features.position, every.repeat(self.n_layers + 1), logits])


def attribute(
    sweep: Sweep,
    targets: Sequence[LogitTarget],
    *,
    max_nodes: int,
    refresh: int,
    block: int,
    advance: Advance = lambda _: None,
) -> Attribution:
    """Attribute the logits, then up to `max_nodes` active features, `block` rows at a time.

    Within the budget features are taken by the influence that the rows known so far give them, `refresh` of them
    before influence is computed anew.
    """
    rows = _Rows(sweep, targets, max_nodes)
    rows.add(None, sweep.pull_back(logit_rows(sweep.model, sweep.run, targets)))
    n_active = len(sweep.sources.features)
    budget = min(max_nodes, n_active)
    while rows.n_features < budget:
        if budget == n_active:
            chosen = torch.arange(n_active, device=rows.visited.device)
        else:
            chosen = rows.most_influential(min(refresh, budget - rows.n_features))
        for part in chosen.split(block):
            rows.add(part, sweep.pull_back(sweep.feature_rows(sweep.sources.features.take(part))))
            advance(len(part))
    return rows.attribution()


class _Rows:
    """The rows attributed so far, grown block by block."""

    def __init__(self, sweep: Sweep, targets: Sequence[LogitTarget], max_nodes: int) -> None:
        self.sweep = sweep
        self.targets = tuple(targets)
        self.n_active = len(sweep.sources.features)
        budget = min(max_nodes, self.n_active)
        fit = max(FEWEST_EDGES, ROW_BUDGET_BYTES // (8 * (budget + len(targets))))
        self.n_kept = self.n_active if budget == self.n_active else min(self.n_active, fit)
        self.visited: Bool[Tensor, " n"] = torch.zeros(
            self.n_active, dtype=torch.bool, device=sweep.run.embeddings.device
        )
        self.n_features = 0
        self.chosen: list[Tensor] = []
        self.blocks: list[_Block] = []

    def add(self, features: Tensor | None, rows: ShareRows) -> None:
        """Keep a block of rows; `features` are their columns, None for the logits."""
        self.blocks.append(_Block.of(rows, self.n_active, self.n_kept))
        if features is not None:
            self.visited[features] = True
            self.n_features += len(features)
            self.chosen.append(features)

    def most_influential(self, count: int) -> Int[Tensor, " count"]:
        """The unvisited features with most influence by the rows known so far, in column order."""
        influence = self._influence()
        influence[self.visited] = -1.0
        order = influence.sort(descending=True, stable=True).indices[:count]
        return order.sort().values

    def _influence(self) -> Float[Tensor, " n"]:
        """Influence on the logits of every active feature, through known rows only; rows by layer, from the top."""
        influence = torch.zeros(self.n_active, device=self.visited.device)
        logits, *features = self.blocks
        weights = influence.new_tensor(
            [1.0 if len(self.targets) == 1 else target.probability for target in self.targets]
        )
        logits.spread(weights, influence)
        if not features:
            return influence
        columns = torch.cat(self.chosen)
        layers = self.sweep.sources.features.layer[columns]
        stacked = _Block.stack(features)
        for layer in layers.unique().sort(descending=True).values.tolist():
            rows = (layers == layer).nonzero().squeeze(1)
            stacked.take(rows).spread(influence[columns[rows]], influence)
        return influence

    def attribution(self) -> Attribution:
        """Everything known, renumbered to the attributed nodes."""
        features = torch.cat([torch.empty(0, dtype=torch.long, device=self.visited.device), *self.chosen])
        order = features.argsort()
        logits, *blocks = self.blocks
        table = _Block.stack([_Block.stack(blocks).take(order), logits]) if blocks else logits
        selected = features[order]
        new_number = torch.full((self.n_active,), -1, dtype=torch.long, device=features.device)
        new_number[selected] = torch.arange(len(selected), device=features.device)
        sources = self.sweep.sources
        n_leaves = (sources.n_layers + 1) * sources.n_positions
        row_node = torch.arange(len(table.value), device=features.device)
        row_node[len(selected) :] += n_leaves
        source, target, share, attributed = table.edges(new_number, row_node, len(selected))
        return Attribution(
            features=sources.features.take(selected),
            n_active=self.n_active,
            n_layers=sources.n_layers,
            n_positions=sources.n_positions,
            logits=self.targets,
            source=source,
            target=target,
            share=share,
            bias=table.bias,
            unattributed=table.feature_total - attributed,
            value=table.value,
            closing_error=table.closing_error,
        )


@dataclass(frozen=True)
class _Block:
    """Rows with their largest feature edges, all leaf edges (errors, tokens), and totals."""

    column: Int[Tensor, "row kept"]
    share: Float[Tensor, "row kept"]
    leaves: Float[Tensor, "row leaf"]
    feature_total: Float[Tensor, " row"]
    size: Float[Tensor, " row"]
    """Sum of |edge| over all columns."""
    bias: Float[Tensor, " row"]
    value: Float[Tensor, " row"]
    closing_error: Float[Tensor, " row"]

    @classmethod
    def of(cls, rows: ShareRows, n_active: int, n_kept: int) -> "_Block":
        features = rows.shares[:, :n_active]
        if n_kept < n_active:
            column = features.abs().topk(n_kept, dim=1, sorted=False).indices
            share = features.gather(1, column)
        else:
            column = torch.arange(n_active, device=features.device).expand_as(features)
            share = features
        return cls(
            column=column.int(),
            share=share.clone(),
            leaves=rows.shares[:, n_active:].clone(),
            feature_total=features.sum(1),
            size=rows.shares.abs().sum(1),
            bias=rows.bias,
            value=rows.value,
            closing_error=rows.closing_error,
        )

    @classmethod
    def stack(cls, blocks: Sequence["_Block"]) -> "_Block":
        return cls(*(torch.cat([getattr(block, name) for block in blocks]) for name in cls.__dataclass_fields__))

    def take(self, rows: Tensor) -> "_Block":
        return _Block(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def spread(self, influence: Tensor, onto: Tensor) -> None:
        """Add to `onto` what these rows, having `influence`, pass to each feature."""
        passed = self.share.abs() * (influence / self.size.clamp(min=1e-10))[:, None]
        onto.index_add_(0, self.column.flatten().long(), passed.flatten())

    def edges(self, new_number: Tensor, row_node: Tensor, n_selected: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(source, target, share) between numbered nodes, and per row the total share of the feature edges among them."""
        source = new_number[self.column.long()]
        inside = (source >= 0) & (self.share != 0)
        attributed = torch.where(source >= 0, self.share, 0.0).sum(1)
        rows, columns = inside.nonzero(as_tuple=True)
        leaf_rows, leaf_columns = self.leaves.nonzero(as_tuple=True)
        return (
            torch.cat([source[rows, columns], leaf_columns + n_selected]),
            torch.cat([row_node[rows], row_node[leaf_rows]]),
            torch.cat([self.share[rows, columns], self.leaves[leaf_rows, leaf_columns]]),
            attributed,
        )
