"""Letting a request to stop through in the middle of a forward or backward pass, not only between batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tasks.model.language_model import LanguageModel


@contextmanager
def stopping_at_blocks(model: LanguageModel, check: Callable[[], None]) -> Iterator[None]:
    """Inside, `check` is called before every decoder block of every run, and again where gradients pass it.

    It may raise, which ends the run. Values and gradients stay as they are.
    """

    def forward(_block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        check()
        residual = arguments[0] if arguments else named["hidden_states"]
        if torch.is_grad_enabled() and residual.requires_grad and not residual.is_leaf:
            residual.register_hook(backward)

    def backward(_gradient: Tensor) -> None:
        check()

    handles = [block.register_forward_pre_hook(forward, with_kwargs=True) for block in model.blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
