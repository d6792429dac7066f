"""The causal cone of a block of rows, packed: a slot for each position that can lead to a row's target."""

import torch
from jaxtyping import Int
from torch import Tensor

NOWHERE = 0
"""The slot of positions after a row's own. What stands there is zero."""


class Cone:
    """Slots row after row, each row's positions ascending; the first rows' slots are the first ones."""

    def __init__(self, position: Int[Tensor, " row"], first: int) -> None:
        """Rows at these positions, of which positions from `first` on are carried."""
        self.first = first
        self.n_positions = int(position.max()) + 1
        counts = position - first + 1
        ends = counts.cumsum(0) + 1
        starts = ends - counts
        self.ends: list[int] = [1, *ends.tolist()]
        """How many slots the first n rows take, `NOWHERE` included."""
        self.last: Int[Tensor, " row"] = ends - 1
        """The slot of each row's own position."""
        carried = torch.arange(first, self.n_positions, device=position.device)[:, None]
        self.slots: Int[Tensor, "pos row"] = torch.where(carried <= position, starts + carried - first, NOWHERE)
        """Where each row stands at each carried position."""
        rows = torch.arange(len(position), device=position.device)
        self.row: Int[Tensor, " pair"] = rows.repeat_interleave(counts)
        """Of each slot after `NOWHERE`."""
        pairs = torch.arange(1, self.ends[-1], device=position.device)
        self.position: Int[Tensor, " pair"] = pairs - starts[self.row] + first
        """Of each slot after `NOWHERE`."""

    def fresh_slots(self, spread: int, begun: int) -> Int[Tensor, "pos begun"]:
        """The slots of the first `begun` rows where those after the first `spread` have one slot each, at their own
        position, one after the other."""
        own = torch.arange(self.ends[spread], self.ends[spread] + begun - spread, device=self.slots.device)
        slots = self.slots[:, :begun].clone()
        fresh = slots[:, spread:]
        fresh.copy_(torch.where(fresh == self.last[spread:begun], own, NOWHERE))
        return slots
