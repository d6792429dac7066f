"""Work that is done in batches, and what becomes of it where memory is short: smaller batches, the same result."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from store.errors import WorkbenchError
from tasks.memory_use import is_out_of_memory


@runtime_checkable
class Divisible(Protocol):
    """A batch that can be cut: a list of row numbers, a range, windows of text."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


Batch = TypeVar("Batch", bound=Divisible)
Result = TypeVar("Result")
logger = logging.getLogger("workbench.tasks")
"""Says what a person should hear of batches that did not fit; a running job narrates it."""


def in_smaller_batches(batches: Iterable[Batch], run: Callable[[Batch], Result]) -> Iterator[tuple[Batch, Result]]:
    """(batch, what `run` gives of it), in order; one that does not fit into memory is halved, and so are later ones.

    `WorkbenchError` if a batch of one does not fit.
    """
    most: int | None = None
    for batch in batches:
        pending = split(batch, most)
        while pending:
            here = pending.pop(0)
            found = within_memory(partial(run, here), len(here))
            if found is None:
                most = len(here) // 2
                pending = [part for each in [here, *pending] for part in split(each, most)]
            else:
                yield here, found


def split(batch: Batch, most: int | None) -> list[Batch]:
    """The batch in parts of at most `most`; as it is without a bound."""
    return [batch] if most is None else [batch[first : first + most] for first in range(0, len(batch), most)]


def within_memory(run: Callable[[], Result], size: int) -> Result | None:
    """What `run` gives; None if its batch does not fit into memory. `WorkbenchError` if a batch of one does not."""
    try:
        return run()
    except (MemoryError, RuntimeError) as error:  # the CPU's allocator has no type of its own
        if not is_out_of_memory(error):
            raise
        if size < 2:
            raise WorkbenchError(
                "there is not enough memory for a batch of one",
                "shorten the prompt or the windows, take fewer layers, or free memory on the device",
            ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    logger.warning("a batch of %d does not fit into memory: %d at once are tried", size, size // 2)
    return None
