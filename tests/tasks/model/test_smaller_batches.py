"""Memory that is short makes batches smaller, never results different."""

import logging
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from store.errors import WorkbenchError
from tasks.model.smaller_batches import in_smaller_batches, split

LACKS = (MemoryError("no"), torch.OutOfMemoryError("CUDA out of memory"),
         RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
         RuntimeError("unable to mmap 9 bytes from file <sae.safetensors>: Cannot allocate memory (12)"),
         RuntimeError("CUDA error: out of memory"))  # fmt: skip


@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 12), st.sampled_from(LACKS))
def test_given_room_for_so_many_rows_when_run_then_every_row_comes_once_in_order_and_no_batch_is_larger(
    n_rows: int, size: int, room: int, lack: Exception
) -> None:
    tried: list[int] = []

    def squares(rows: range) -> list[int]:
        tried.append(len(rows))
        if len(rows) > room:
            raise lack
        return [row * row for row in rows]

    found = list(in_smaller_batches(split(range(n_rows), size), squares))
    assert [value for _, values in found for value in values] == [row * row for row in range(n_rows)]
    assert all(len(rows) == len(values) <= room for rows, values in found)
    too_large = [number for number in tried if number > room]
    assert too_large == sorted(set(too_large), reverse=True)  # no size that did not fit is tried again


def test_given_no_room_for_one_row_when_run_then_one_line_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    def never(rows: Sequence[int]) -> None:
        raise LACKS[0]

    with caplog.at_level(logging.WARNING, "workbench.tasks"), pytest.raises(WorkbenchError) as told:
        list(in_smaller_batches([[3, 4, 5, 6]], never))
    assert "not enough memory for a batch of one; shorten the prompt" in str(told.value)
    assert told.value.__cause__ is LACKS[0]
    assert [record.getMessage() for record in caplog.records] == [
        "a batch of 4 does not fit into memory: 2 at once are tried",
        "a batch of 2 does not fit into memory: 1 at once are tried",
    ]


def test_given_another_fault_when_run_then_it_is_not_taken_for_lack_of_memory() -> None:
    def broken(rows: Sequence[int]) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        list(in_smaller_batches([[1, 2]], broken))
