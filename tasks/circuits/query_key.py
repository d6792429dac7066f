"""Why a head attends where it does: which pairs of sources make one query-key score (METHOD §1, frozen below the head).

The score is (R_q Q)·(R_k K)·scaling with Q and K linear in the residual stream once norms (those on queries and keys
too) are frozen, so it is a sum over pairs of a source at the query's side and one at the key's side, biases included.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from store.errors import BadInput
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import TargetRows


@dataclass(frozen=True)
class QueryKeyScore:
    """One score before the softmax (and before a soft cap, where the family has one)."""

    score: float
    attention: float
    """The pattern's entry: how much of the query's attention goes to the key."""
    query_parts: Float[Tensor, "side e"]
    """Per source column, and last the constants: what it is in the query, rotated and normed; scaling included."""
    key_parts: Float[Tensor, "side e"]
    """The same in the key."""

    @property
    def by_query_source(self) -> Float[Tensor, " side"]:
        """What each source at the query's side brings to the score, the key as it is; adds up to the score."""
        return self.query_parts @ self.key_parts.sum(0)

    @property
    def by_key_source(self) -> Float[Tensor, " side"]:
        """What each source at the key's side brings to the score, the query as it is; adds up to the score."""
        return self.key_parts @ self.query_parts.sum(0)

    def pairs(self, query_rows: Int[Tensor, " a"], key_rows: Int[Tensor, " b"]) -> Float[Tensor, "a b"]:
        """What pairs of sources bring: all pairs add up to the score."""
        return self.query_parts[query_rows] @ self.key_parts[key_rows].T


def query_key_score(sweep: Sweep, layer: int, head: int, query: int, key: int) -> QueryKeyScore:
    """The score of `head` of `layer` at one query and key position, split by sources.

    `BadInput` for a layer, head or position that is not there, and for a key after the query.
    """
    pattern = sweep.run.layers[layer].attention_pattern
    if not 0 <= head < len(pattern):
        raise BadInput(f"layer {layer} has no head {head}", f"its heads are 0 to {len(pattern) - 1}")
    if not 0 <= key <= query < sweep.run.n_positions:
        raise BadInput(f"position {query} cannot attend to {key}", "a key stands at the query's position or before it")
    modules = sweep.model.layers[layer]
    rotation = _rotations(sweep, layer)
    n_shared = len(pattern) * modules.d_head // modules.key.out_features
    of_query = _side(sweep, layer, modules.query, modules.query_norm, head, query)
    of_key = _side(sweep, layer, modules.key, modules.key_norm, head // n_shared, key)
    query_parts = _rotated(of_query, rotation, query) * modules.attention_scaling
    key_parts = _rotated(of_key, rotation, key)
    score = float(query_parts.sum(0) @ key_parts.sum(0))
    return QueryKeyScore(score, float(pattern[head, query, key]), query_parts, key_parts)


def _side(
    sweep: Sweep, layer: int, linear: nn.Linear, norm: nn.Module | None, head: int, position: int
) -> Float[Tensor, "side e"]:
    """What each source column, and the constants, are in one head's query or key, after its frozen norm."""
    d_head = sweep.model.layers[layer].d_head
    mine = slice(head * d_head, (head + 1) * d_head)
    weight = linear.weight.detach().float()[mine]
    constant = weight.new_zeros(d_head) if linear.bias is None else linear.bias.detach().float()[mine]
    place = torch.full((d_head,), position, device=weight.device)
    vector = weight * sweep.run.layers[layer].attention_norm_scale[position]
    rows = TargetRows(torch.full_like(place, 2 * layer), place, vector, constant, torch.zeros_like(constant))
    parts = sweep.pull_back(rows)
    columns = torch.cat([parts.shares.T, parts.bias[None]])
    if norm is None:
        return columns
    whole = columns.sum(0)
    inverse_rms = torch.rsqrt(whole.square().mean() + sweep.model.norm_epsilon(norm))
    return columns * inverse_rms * sweep.model.norm_weight(norm).float()


Rotation = tuple[Tensor, Tensor]
"""(cosines, sines), each [pos, e]."""


def _rotations(sweep: Sweep, layer: int) -> Rotation:
    """The rotary embedding that this layer gives queries and keys, read off the model."""
    seen: list[Rotation] = []
    attention = sweep.model.layers[layer].attention
    hook = attention.register_forward_pre_hook(partial(_keep_rotation, seen), with_kwargs=True)
    try:
        sweep.model.logits(sweep.model.token_tensor(sweep.run.tokens))
    finally:
        hook.remove()
    return seen[0]


def _keep_rotation(seen: list[Rotation], _module: nn.Module, _inputs: object, named: dict[str, Any]) -> None:
    cosines, sines = named["position_embeddings"]
    seen.append((cosines[0].float(), sines[0].float()))


def _rotated(parts: Float[Tensor, "side e"], rotation: Rotation, position: int) -> Float[Tensor, "side e"]:
    cosines, sines = (each[position] for each in rotation)
    first, second = parts.chunk(2, dim=1)
    return parts * cosines + torch.cat([-second, first], dim=1) * sines
