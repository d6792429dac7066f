"""Which attention heads carry an edge (METHOD §1: patterns frozen, so that every path through heads is linear).

A direct edge is a sum over paths from what the source writes to the target that go through attention heads and through
nothing else that is a node. Two ways of sharing it out close to the edge: by the head that first takes the source up,
and by the head that last writes into the target. They agree where paths have one head.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import Target, TargetRows


@dataclass(frozen=True)
class EdgeSource:
    """Something written to the residual stream."""

    layer: int
    """The layer whose MLP writes it; -1 for a token embedding."""
    position: int
    write: Float[Tensor, " d"]
    """As the MLP puts it out, before a sandwich norm."""


@dataclass(frozen=True)
class HeadLoadings:
    """One edge, shared out; all in units of the target's value."""

    total: float
    """The edge."""
    direct: float
    """Paths through no head at all: source and target at one position."""
    taken_up: Float[Tensor, "layer head"]
    """By the first head of a path; with `direct` they add up to the edge."""
    written: Float[Tensor, "layer head"]
    """By the last head of a path; with `direct` they add up to the edge."""
    destination: Float[Tensor, "layer head pos"]
    """`taken_up` by the position that the head moves the source to."""
    origin: Float[Tensor, "layer head pos"]
    """`written` by the position that the head reads from."""


def head_loadings(sweep: Sweep, source: EdgeSource, target: Target) -> HeadLoadings:
    """Share the edge from `source` to `target` out among the heads between them."""
    rows = sweep.target_rows([target])
    start = int(rows.start)
    n_heads, n_positions, _ = sweep.run.layers[0].attention_pattern.shape
    destination = torch.zeros(sweep.model.n_layers, n_heads, n_positions, device=sweep.model.device)
    origin = torch.zeros_like(destination)
    everywhere, staying = _gradients(sweep, rows), _gradients(sweep, rows, through_attention=False)
    moved, still = _Carried(sweep, source), _Carried(sweep, source)
    for layer in range(source.layer + 1, (start + 1) // 2):
        destination[layer] = _terms(sweep, layer, everywhere[layer], still.values(layer)).sum(2)
        origin[layer] = _terms(sweep, layer, staying[layer], moved.values(layer)).sum(1)
        moved.through_attention(layer)
        if 2 * layer + 1 < start:
            moved.through_mlp(layer)
            still.through_mlp(layer)
    direct = float(still.residual[target.position] @ rows.vector[0])
    taken_up = destination.sum(2)
    return HeadLoadings(direct + float(taken_up.sum()), direct, taken_up, origin.sum(2), destination, origin)


def _gradients(sweep: Sweep, rows: TargetRows, *, through_attention: bool = True) -> dict[int, Float[Tensor, "pos d"]]:
    """Per layer below the target: its gradient at every position of the residual stream after that attention."""
    found: dict[int, Tensor] = {}

    def keep(layer: int, gradient: Tensor) -> None:
        after = sweep.run.n_positions - gradient.shape[1]
        found[layer] = torch.nn.functional.pad(gradient[0], (0, 0, 0, after)).clone()

    sweep.pull_back(rows, through_attention=through_attention, observe=keep)
    return found


def _terms(
    sweep: Sweep, layer: int, gradient: Float[Tensor, "pos d"], values: Float[Tensor, "head pos e"]
) -> Float[Tensor, "head query key"]:
    """What each head brings to the target from each key to each query."""
    frozen, modules = sweep.run.layers[layer], sweep.model.layers[layer]
    if frozen.attention_output_scale is not None:
        gradient = gradient * frozen.attention_output_scale
    of_heads = (gradient @ modules.output.weight.detach().float()).unflatten(1, (-1, modules.d_head))
    return frozen.attention_pattern * torch.einsum("qhe,hke->hqk", of_heads, values)


class _Carried:
    """What one source is in the residual stream, carried upwards through the frozen model."""

    def __init__(self, sweep: Sweep, source: EdgeSource) -> None:
        self.sweep = sweep
        self.residual = torch.zeros_like(sweep.run.embeddings)
        write = source.write
        if source.layer >= 0 and (scale := sweep.run.layers[source.layer].mlp_output_scale) is not None:
            write = write * scale[source.position]
        self.residual[source.position] = write

    def values(self, layer: int) -> Float[Tensor, "head pos e"]:
        """The values that each head reads of it."""
        frozen, modules = self.sweep.run.layers[layer], self.sweep.model.layers[layer]
        read = self.residual * frozen.attention_norm_scale
        values = (read @ modules.value.weight.detach().float().T).unflatten(1, (-1, modules.d_head))
        shared_by = len(frozen.attention_pattern) // values.shape[1]
        return torch.repeat_interleave(values, shared_by, 1).transpose(0, 1)

    def through_attention(self, layer: int) -> None:
        """Join what the heads write of it."""
        frozen, modules = self.sweep.run.layers[layer], self.sweep.model.layers[layer]
        mixed = torch.einsum("hqk,hke->qhe", frozen.attention_pattern, self.values(layer))
        written = mixed.flatten(1) @ modules.output.weight.detach().float().T
        scale = frozen.attention_output_scale
        self.residual = self.residual + (written if scale is None else written * scale)

    def through_mlp(self, layer: int) -> None:
        """Join what an MLP that is no node makes of it: passed through, or the bypass of a dictionary that has one."""
        sweep, frozen = self.sweep, self.sweep.run.layers[layer]
        mlp_input = self.residual * frozen.mlp_norm_scale
        if layer not in sweep.sources.layers:
            modules, neurons = sweep.model.layers[layer], sweep.neurons_of(layer)
            gate, up = (mlp_input @ linear.weight.detach().float().T for linear in (modules.gate, modules.up))
            written = (neurons.of_gate * gate + neurons.of_up * up) @ modules.down.weight.detach().float().T
        elif layer in sweep.dictionaries and sweep.dictionaries[layer].skip is not None:
            written = mlp_input @ sweep.dictionaries[layer].skip.T  # type: ignore[union-attr]
        else:
            return
        scale = frozen.mlp_output_scale
        self.residual = self.residual + (written if scale is None else written * scale)
