"""A raw attribution graph: which nodes were attributed, and what each one's value is made of (METHOD §4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.circuits.known_rows import KnownRows
from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import Target
from tasks.graphs.raw import RawGraph, raw_graph
from tasks.memory_use import trim

MEMORY_BYTES = 2**31
"""What attribution may take beside the model and the frozen run."""
ROWS_BEFORE_TRIM = 512
"""Blocks differ in size, and what they took stays in pieces with the allocator, which is told to let go of it."""
Advance = Callable[[float], None]
"""Told how many rows were just attributed."""


@dataclass(frozen=True)
class Attribution:
    """Nodes [features | errors by layer·T + position | tokens | targets] and the edges between them."""

    features: ActiveFeatures
    """The attributed features, in column order."""
    rows_of_active: Int[Tensor, " n"]
    """Where the attributed features stand among all active ones."""
    n_active: int
    """How many features were active; those that were not attributed have no row."""
    n_layers: int
    tokens: tuple[int, ...]
    """The prompt."""
    targets: tuple[Target, ...]
    """What is explained: logits, or one feature."""
    source: Int[Tensor, " edge"]
    share: Float[Tensor, " edge"]
    """Raw and signed, in the units of the target's value."""
    row_node: Int[Tensor, " row"]
    """The edges' targets, in the order in which the edges stand."""
    edges_of_row: Int[Tensor, " row"]
    """How many edges each of those targets has; they stand together."""
    bias: Float[Tensor, " row"]
    """Per row [features | targets]: the share of constants and of position 0."""
    unattributed: Float[Tensor, " row"]
    """Per row: the share of what has no edge: features outside the budget, and edges too small to keep."""
    unattributed_size: Float[Tensor, " row"]
    """Per row: sum of |share| over the same, which does not cancel."""
    value: Float[Tensor, " row"]
    """Per row: the pre-activation or centred logit."""
    size: Float[Tensor, " row"]
    """Per row: sum of |share| over everything its value is made of."""
    closing_error: Float[Tensor, " row"]
    """|sum of the row - value|, relative to `size`, or to the median row's where that is larger."""

    @property
    def target(self) -> Int[Tensor, " edge"]:
        """The node of each edge's target."""
        return self.row_node.repeat_interleave(self.edges_of_row)

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
    def first_target(self) -> int:
        """Node of the first target."""
        return self.first_token + self.n_positions

    @property
    def n_nodes(self) -> int:
        """Features, errors, tokens and targets."""
        return self.first_target + len(self.targets)

    @property
    def first_target_row(self) -> int:
        """The targets' first row, among [features | targets]."""
        return len(self.features)

    def raw(self) -> RawGraph:
        """The nodes and edges alone, on the host: what pruning and scores work on."""
        edges = (self.source.int(), self.target.int(), self.share)
        return raw_graph(
            layer=self.features.layer.int().cpu().numpy(),
            position=self.features.position.int().cpu().numpy(),
            n_layers=self.n_layers,
            n_positions=self.n_positions,
            targets=[(target.layer_in(self.n_layers), target.position) for target in self.targets],
            probabilities=[target.probability for target in self.targets],
            edges=(edges[0].cpu().numpy(), edges[1].cpu().numpy(), edges[2].cpu().numpy()),
        )


def attribute(
    sweep: Sweep,
    targets: Sequence[Target],
    *,
    max_nodes: int,
    refresh: int,
    block: int,
    memory: int = MEMORY_BYTES,
    advance: Advance = lambda _: None,
) -> Attribution:
    """Attribute the targets, then up to `max_nodes` of the active features from which a path leads to them.

    Within the budget features are taken by the influence that the rows known so far give them, `refresh` of them
    before influence is computed anew. At most `block` rows are pulled back at once, and fewer where their working set
    would be more than half of `memory` bytes; the other half is for finished rows.
    """
    rows = KnownRows(sweep, targets, max_nodes, memory // 2)
    rows.add(torch.empty(0, dtype=torch.long, device=rows.device), sweep.pull_back(sweep.target_rows(targets)))
    block = max(1, min(block, memory // 2 // sweep.bytes_per_row()))
    trimmed = 0
    while rows.n_features < rows.budget:
        for part in rows.blocks_of(rows.next_features(refresh), block):
            rows.add(part, sweep.pull_back(sweep.feature_rows(sweep.sources.features.take(part))))
            if rows.n_features - trimmed >= ROWS_BEFORE_TRIM:
                trim()
                trimmed = rows.n_features
            advance(len(part))
    return _assembled(sweep, rows)


def _assembled(sweep: Sweep, rows: KnownRows) -> Attribution:
    """Everything known, with edges between the attributed nodes, renumbered in their place."""
    sources = sweep.sources
    n_active = len(sources.features)
    selected = (rows.visited & ~rows.unreachable).nonzero().squeeze(1)
    number = torch.full((sources.n_columns,), -1, dtype=torch.int32, device=rows.device)
    numbers = torch.arange(len(selected) + sources.n_columns - n_active, dtype=torch.int32, device=rows.device)
    number[selected], number[n_active:] = numbers[: len(selected)], numbers[len(selected) :]
    target_nodes = torch.arange(len(rows.targets), dtype=torch.int32, device=rows.device) + len(numbers)
    row_nodes, edges_of_row, totals, n_edges = [], [], [], 0
    for block in rows.blocks:
        row_nodes.append(number[block.features] if len(block.features) else target_nodes)
        part = block.numbered(number, rows.edges.after(n_edges))
        edges_of_row.append(part.start.diff())
        totals.append(part.totals())
        n_edges += len(part.share)
    row_node = torch.cat(row_nodes)
    order = row_node.argsort()
    of_row = torch.cat(totals, dim=1)[:, order]
    bias, value, gap, size, unattributed, unattributed_size = of_row
    size = size + bias.abs()
    return Attribution(
        features=sources.features.take(selected),
        rows_of_active=selected,
        n_active=n_active,
        n_layers=sources.n_layers,
        tokens=sweep.run.tokens,
        targets=rows.targets,
        source=rows.edges.column[:n_edges],
        share=rows.edges.share[:n_edges],
        row_node=row_node,
        edges_of_row=torch.cat(edges_of_row),
        bias=bias,
        unattributed=unattributed,
        unattributed_size=unattributed_size.clamp(min=0),
        value=value,
        size=size,
        closing_error=gap / torch.maximum(size, size.median()),
    )
