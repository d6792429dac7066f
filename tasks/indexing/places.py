"""Where in a corpus a token is, as one number; and a draw that depends on the place alone.

A sample of the places with the smallest draws is the same in whatever order, and in however many parts, they are seen.
"""

import torch
from jaxtyping import Int
from torch import Tensor

NOWHERE = 1 << 62
"""The place of an empty slot: after every other."""
DRAWS = 1 << 31
"""Draws are below this."""
_POSITION_BITS = 32
_STEPS = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))
_GOLDEN = -0x61C8864680B583EB


def packed(documents: Int[Tensor, " rows"], positions: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """Document and position of each token as one number; places rise in the order of reading."""
    return (documents.long() << _POSITION_BITS) | positions.long()


def unpacked(places: Int[Tensor, "*shape"]) -> tuple[Int[Tensor, "*shape"], Int[Tensor, "*shape"]]:
    """Documents and positions."""
    return places >> _POSITION_BITS, places & ((1 << _POSITION_BITS) - 1)


def drawn(places: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """A number in [0, `DRAWS`) for each place, evenly spread (the mixing steps of SplitMix64, Steele et al. 2014)."""
    x = places + _GOLDEN
    for shift, factor in _STEPS:
        x = (x ^ _shifted(x, shift)) * factor
    return (x ^ _shifted(x, 31)) & (DRAWS - 1)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """To the right, zeros from the left."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def empty_places(*shape: int, device: torch.device) -> Int[Tensor, "..."]:
    """Slots with nothing in them."""
    return torch.full(shape, NOWHERE, dtype=torch.int64, device=device)
