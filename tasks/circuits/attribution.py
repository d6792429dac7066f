"""A raw attribution graph: which nodes were attributed, and what each one's value is made of (METHOD §4).

Rows are written sparse: where not every active feature can be attributed, edges below `SMALLEST_KEPT` of their row go
into the row's totals. Errors and tokens are always kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.sweep import ShareRows, Sweep
from tasks.circuits.targets import LogitTarget, logit_rows
from tasks.graphs.raw import RawGraph, raw_graph

ROW_BUDGET_BYTES = 2**28
"""Up to here all feature edges are kept (8 bytes each), or wherever every active feature is attributed."""
SMALLEST_KEPT = 1e-4
"""Where they do not fit: the smallest edge that is kept, as a fraction of its row's sum of |edge|."""

Advance = Callable[[float], None]
"""Told how many rows were just attributed."""


@dataclass(frozen=True)
class Attribution:
    """Nodes [features | errors by layer·T + position | tokens | logits] and the edges between them."""

    features: ActiveFeatures
    """The attributed features, in column order."""
    rows_of_active: Int[Tensor, " n"]
    """Where the attributed features stand among all active ones."""
    n_active: int
    """How many features were active; those that were not attributed have no row."""
    n_layers: int
    tokens: tuple[int, ...]
    """The prompt."""
    logits: tuple[LogitTarget, ...]
    source: Int[Tensor, " edge"]
    target: Int[Tensor, " edge"]
    share: Float[Tensor, " edge"]
    """Raw and signed, in the units of the target's value."""
    bias: Float[Tensor, " row"]
    """Per target [features | logits]: the share of constants and of position 0."""
    unattributed: Float[Tensor, " row"]
    """Per target: the share of active features outside the budget."""
    unattributed_size: Float[Tensor, " row"]
    """Per target: sum of |share| over the same, which does not cancel."""
    value: Float[Tensor, " row"]
    """Per target: the pre-activation or centred logit."""
    size: Float[Tensor, " row"]
    """Per target: sum of |share| over everything its value is made of."""
    closing_error: Float[Tensor, " row"]
    """|sum of the row - value|, relative to `size`, or to the median row's where that is larger."""

    @property
    def n_positions(self) -> int:
        """Length of the prompt in tokens."""
        return len(self.tokens)

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

    def raw(self) -> RawGraph:
        """The nodes and edges alone, on the host: what pruning and scores work on."""
        edges = (self.source.int(), self.target.int(), self.share)
        return raw_graph(
            layer=self.features.layer.int().cpu().numpy(),
            position=self.features.position.int().cpu().numpy(),
            n_layers=self.n_layers,
            n_positions=self.n_positions,
            targets=[(self.n_layers, logit.position) for logit in self.logits],
            probabilities=[logit.probability for logit in self.logits],
            edges=(edges[0].cpu().numpy(), edges[1].cpu().numpy(), edges[2].cpu().numpy()),
        )


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
    none = torch.empty(0, dtype=torch.long, device=rows.device)
    rows.add(none, sweep.pull_back(logit_rows(sweep.model, sweep.run, targets)))
    n_active = len(sweep.sources.features)
    budget = min(max_nodes, n_active)
    while rows.n_features < budget:
        if budget == n_active:
            chosen = torch.arange(n_active, device=rows.device)
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
        fits = budget == self.n_active or 8 * budget * self.n_active <= ROW_BUDGET_BYTES
        self.smallest_kept = 0.0 if fits else SMALLEST_KEPT
        self.device = sweep.run.embeddings.device
        self.visited: Bool[Tensor, " n"] = torch.zeros(self.n_active, dtype=torch.bool, device=self.device)
        self.blocks: list[_Block] = []

    @property
    def n_features(self) -> int:
        """How many features have a row."""
        return sum(len(block.features) for block in self.blocks)

    def add(self, features: Tensor, rows: ShareRows) -> None:
        """Keep a block of rows; `features` are their columns in ascending order, none for the logits."""
        self.blocks.append(_Block.of(features, rows, self.n_active, self.smallest_kept))
        self.visited[features] = True

    def most_influential(self, count: int) -> Int[Tensor, " count"]:
        """The unvisited features with most influence by the rows known so far, in column order."""
        influence = self._influence()
        influence[self.visited] = -1.0
        order = influence.sort(descending=True, stable=True).indices[:count]
        return order.sort().values

    def _influence(self) -> Float[Tensor, " n"]:
        """Influence on the logits of every active feature, through known rows only; rows by layer, from the top."""
        influence = torch.zeros(self.n_active, device=self.device)
        logits, *blocks = self.blocks
        logits.spread(slice(0, len(self.targets)), _logit_weights(self.targets, influence), influence)
        layer_of = self.sweep.sources.features.layer
        layers = torch.arange(self._n_layers + 1, device=self.device)
        starts = [torch.searchsorted(layer_of[block.features], layers) for block in blocks]
        for layer in range(self._n_layers - 1, -1, -1):
            for block, start in zip(blocks, starts, strict=True):
                rows = slice(int(start[layer]), int(start[layer + 1]))
                if rows.start < rows.stop:
                    block.spread(rows, influence[block.features[rows]], influence)
        return influence

    @property
    def _n_layers(self) -> int:
        return self.sweep.sources.n_layers

    def attribution(self) -> Attribution:
        """Everything known, renumbered to the attributed nodes."""
        logits, *blocks = self.blocks
        sources, selected = self.sweep.sources, self.visited.nonzero().squeeze(1)
        number = torch.full((self.n_active,), -1, dtype=torch.long, device=self.device)
        number[selected] = torch.arange(len(selected), device=self.device)
        first_logit = len(selected) + (sources.n_layers + 1) * sources.n_positions
        logit_rows = torch.arange(len(self.targets), device=self.device) + len(selected)
        parts = [block.edges(number, number[block.features], len(selected)) for block in blocks]
        parts.append(logits.edges(number, logit_rows - len(selected) + first_logit, len(selected)))
        source, target, share = (torch.cat(column) for column in zip(*parts, strict=True))
        order = torch.cat([*(number[block.features] for block in blocks), logit_rows]).argsort()

        def total(name: str) -> Tensor:
            return torch.cat([getattr(block, name) for block in [*blocks, logits]])[order]

        size = total("size") + total("bias").abs()
        outside = torch.cat([block.outside(number) for block in [*blocks, logits]], dim=1)[:, order]
        return Attribution(
            features=sources.features.take(selected),
            rows_of_active=selected,
            n_active=self.n_active,
            n_layers=sources.n_layers,
            tokens=self.sweep.run.tokens,
            logits=self.targets,
            source=source,
            target=target,
            share=share,
            bias=total("bias"),
            unattributed=outside[0],
            unattributed_size=outside[1],
            value=total("value"),
            size=size,
            closing_error=total("gap") / torch.maximum(size, size.median()),
        )


def _logit_weights(targets: Sequence[LogitTarget], like: Tensor) -> Float[Tensor, " logit"]:
    """Where influence starts: each logit by its probability; a single target by one."""
    return like.new_tensor([1.0] if len(targets) == 1 else [target.probability for target in targets])


@dataclass(frozen=True)
class _Block:
    """Rows with their feature edges (row by row), all leaf edges (errors, tokens), and totals."""

    features: Int[Tensor, " attributed"]
    """The rows' own columns; empty for logits."""
    start: Int[Tensor, " row_and_end"]
    """Where each row's feature edges begin."""
    row: Int[Tensor, " edge"]
    column: Int[Tensor, " edge"]
    share: Float[Tensor, " edge"]
    leaves: Float[Tensor, "row leaf"]
    feature_total: Float[Tensor, " row"]
    feature_size: Float[Tensor, " row"]
    """Sum of |edge| over features."""
    size: Float[Tensor, " row"]
    """Sum of |edge| over all columns."""
    bias: Float[Tensor, " row"]
    value: Float[Tensor, " row"]
    gap: Float[Tensor, " row"]
    """|sum of the row - value|."""

    @classmethod
    def of(cls, features: Tensor, rows: ShareRows, n_active: int, smallest_kept: float) -> "_Block":
        edges = rows.shares[:, :n_active]
        size = rows.shares.abs().sum(1)
        row, column = (edges.abs() > smallest_kept * size[:, None]).nonzero(as_tuple=True)
        return cls(
            features=features,
            start=torch.searchsorted(row, torch.arange(len(size) + 1, device=row.device)),
            row=row.int(),
            column=column.int(),
            share=edges[row, column],
            leaves=rows.shares[:, n_active:].clone(),
            feature_total=edges.sum(1),
            feature_size=edges.abs().sum(1),
            size=size,
            bias=rows.bias,
            value=rows.value,
            gap=rows.gap,
        )

    def spread(self, rows: slice, influence: Tensor, onto: Tensor) -> None:
        """Add to `onto` what these rows, having `influence`, pass to each feature."""
        edges = slice(int(self.start[rows.start]), int(self.start[rows.stop]))
        per_unit = influence / self.size[rows].clamp(min=1e-10)
        passed = self.share[edges].abs() * per_unit[self.row[edges] - rows.start]
        onto.index_add_(0, self.column[edges], passed)

    def outside(self, number: Tensor) -> Float[Tensor, "2 row"]:
        """Per row: the sum of the feature edges that lead to no numbered node, and the sum of their sizes."""
        inside = number[self.column] >= 0
        row, share = self.row[inside], self.share[inside]
        totals = torch.stack([self.feature_total, self.feature_size])
        return totals.index_add(1, row, torch.stack([-share, -share.abs()]))

    def edges(self, number: Tensor, row_node: Tensor, n_selected: int) -> tuple[Tensor, Tensor, Tensor]:
        """(source, target, share) between numbered nodes: feature edges among them, then leaf edges."""
        source = number[self.column]
        inside = source >= 0
        leaf_row, leaf = self.leaves.nonzero(as_tuple=True)
        return (
            torch.cat([source[inside], leaf + n_selected]),
            torch.cat([row_node[self.row[inside]], row_node[leaf_row]]),
            torch.cat([self.share[inside], self.leaves[leaf_row, leaf]]),
        )
