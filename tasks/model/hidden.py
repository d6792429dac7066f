"""The MLP hidden h of chosen layers, streamed: one forward for all of them, stopped after the last (METHOD §6).

Plain hooks on the model's own modules, because capture is hot. Padding and the first position of each window are left
out: position 0 is the attention sink, whose massive activations are no feature's business.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tasks.model.language_model import LanguageModel
from tasks.model.smaller_batches import in_smaller_batches

Place = Literal["down", "mlp"]
"""Whose input is read: the down projection's (h in R^m), or the MLP's (u in R^d, after its norm)."""


@runtime_checkable
class Windows(Protocol):
    """A batch of windows of text, each from one document (`tasks.corpora.tokens.TokenBatch`)."""

    @property
    def tokens(self) -> Int[Tensor, "batch pos"]:
        """Token ids."""

    @property
    def mask(self) -> Bool[Tensor, "batch pos"]:
        """True where there is text, False where there is padding (on the right)."""

    @property
    def documents(self) -> Int[Tensor, "batch pos"]:
        """The document of each token."""

    @property
    def positions(self) -> Int[Tensor, "batch pos"]:
        """The position of each token in its document."""

    def __len__(self) -> int:
        """How many windows."""

    def __getitem__(self, rows: slice) -> "Windows":
        """Some of the windows."""


@dataclass(frozen=True)
class HiddenRows:
    """What one batch of windows gave: a row a token, the same tokens in the same order in every layer."""

    hidden: dict[int, Float[Tensor, "rows width"]]
    """Layer -> h (or u), in the model's dtype."""
    documents: Int[Tensor, " rows"]
    positions: Int[Tensor, " rows"]

    @property
    def n_rows(self) -> int:
        """Number of tokens."""
        return len(self.documents)


class _Stopped(Exception):
    """Raised by the last hook: nothing after it is needed."""


def stream_hidden(
    model: LanguageModel, batches: Iterable[Windows], layers: Sequence[int], at: Place = "down"
) -> Iterator[HiddenRows]:
    """h of `layers` for every token of `batches` but padding and each window's first; nothing after them is run.

    With `at="mlp"` it is what goes into each MLP instead, u in R^d. Windows of a batch that do not fit into memory
    together are run in smaller batches.
    """

    def rows_of(windows: Windows) -> HiddenRows:
        keep = kept_positions(windows.mask)
        here = keep.to(model.device)
        hidden = hidden_states(model, windows.tokens, windows.mask, layers, at)
        return HiddenRows(
            {layer: rows[here] for layer, rows in hidden.items()}, windows.documents[keep], windows.positions[keep]
        )

    for batch in batches:
        parts = [found for _, found in in_smaller_batches([batch], rows_of)]
        yield parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: Sequence[HiddenRows]) -> HiddenRows:
    """The rows of all parts, in order."""
    return HiddenRows(
        {layer: torch.cat([part.hidden[layer] for part in parts]) for layer in parts[0].hidden},
        torch.cat([part.documents for part in parts]),
        torch.cat([part.positions for part in parts]),
    )


def kept_positions(mask: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
    """Where SAE data comes from: text, but not the first position of a window."""
    keep = mask.clone()
    keep[:, 0] = False
    return keep


def n_kept(mask: Bool[Tensor, "batch pos"]) -> int:
    """How many rows a batch of windows gives."""
    return int(kept_positions(mask).sum())


@torch.no_grad()
def hidden_states(
    model: LanguageModel,
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"],
    layers: Sequence[int],
    at: Place = "down",
) -> dict[int, Float[Tensor, "batch pos width"]]:
    """h of `layers` (u with `at="mlp"`) at every position, padding included, from one forward that stops inside the
    last of them."""
    hidden: dict[int, Tensor] = {}
    last = max(layers)
    handles = []

    def reader(layer: int) -> Any:
        def read(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            hidden[layer] = inputs[0]
            if layer == last:
                raise _Stopped

        return read

    try:
        for layer in layers:
            module = getattr(model.layers[layer], at)
            handles.append(module.register_forward_pre_hook(reader(layer)))
        model.hf.get_decoder()(
            input_ids=tokens.to(model.device), attention_mask=mask.to(model.device).long(), use_cache=False
        )
    except _Stopped:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return hidden
