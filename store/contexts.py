"""The strongest examples of a feature as texts: token ids and the feature's activation on each, in few bytes.

With them the contexts of a feature are read without its model and its corpus.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from store.errors import Damaged

N_CONTEXTS = 8
"""Contexts kept a feature: the strongest."""
TOKENS_BEFORE, TOKENS_AFTER = 12, 4
"""How much text is kept around the token of an example."""
_HEAD = struct.Struct("<BfIIfB")
_LEVELS = 254
_UNKNOWN = 255
_MOST = 255
_EFFORT = 6
"""Of zlib: 9 takes three times as long for 1 % less."""


@dataclass(frozen=True)
class Context:
    """A stretch of a document around one activation; `values` are the feature's activations, NaN where not known."""

    document: int
    position: int
    activation: float
    tokens: tuple[int, ...]
    values: tuple[float, ...]
    at: int
    """Which of the tokens is the example's."""


def pack_contexts(contexts: Sequence[Context]) -> bytes:
    """The contexts as one compressed blob; 8 of 17 tokens take about 400 bytes.

    Activations beside the example's own are kept in 254 steps of the largest; one that is above zero stays above zero.
    """
    if len(contexts) > _MOST or any(len(context.tokens) > _MOST for context in contexts):
        raise ValueError("a blob holds 255 contexts of 255 tokens at most")
    values = np.fromiter(chain.from_iterable(context.values for context in contexts), dtype=np.float64)
    scale, levels = _levels(values)
    packed, done = bytes([len(contexts)]), 0
    for context in contexts:
        n = len(context.tokens)
        packed += _HEAD.pack(n, scale, context.document, context.position, context.activation, context.at)
        packed += struct.pack(f"<{n}I", *context.tokens) + levels[done : done + n]
        done += n
    return zlib.compress(packed, _EFFORT)


def unpack_contexts(packed: bytes) -> list[Context]:
    """The contexts of a blob; `Damaged` if it is not one."""
    try:
        data = zlib.decompress(packed)
        offset, contexts = 1, []
        for _ in range(data[0]):
            n, scale, document, position, activation, at = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size
            tokens = struct.unpack_from(f"<{n}I", data, offset)
            levels = data[offset + 4 * n : offset + 5 * n]
            offset += 5 * n
            values = tuple(math.nan if level == _UNKNOWN else level * scale / _LEVELS for level in levels)
            contexts.append(Context(document, position, activation, tokens, values, at))
        if offset != len(data) or any(len(c.values) != len(c.tokens) or c.at >= len(c.tokens) for c in contexts):
            raise struct.error("lengths disagree")
    except (zlib.error, struct.error, IndexError) as error:
        raise Damaged("a blob of contexts cannot be read", "run `workbench index` again") from error
    return contexts


def texts_of(contexts: Sequence[Context], texts: Mapping[int, str]) -> list[dict[str, object]]:
    """The contexts as documents, with the texts of their tokens; a token without a text is shown by its id."""
    return [
        {
            "document": context.document,
            "position": context.position,
            "activation": context.activation,
            "tokens": [texts.get(token, f"<{token}>") for token in context.tokens],
            "values": list(context.values),
            "at": context.at,
        }
        for context in contexts
    ]


def _levels(values: NDArray[np.float64]) -> tuple[float, bytes]:
    """(the largest that is finite, each in steps of it)."""
    finite = np.isfinite(values)
    scale = float(values.max(initial=-np.inf, where=finite)) if finite.any() else 0.0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        steps = np.rint(values / scale * _LEVELS).clip(1, _LEVELS)
    steps = np.where(values > 0, steps, 0)
    return scale, np.where(finite, steps, _UNKNOWN).astype(np.uint8).tobytes()
