"""What an index is expected to take, beside what its parts take."""

import pytest
import torch

from tasks.indexing.layer_pass import LayerPass
from tasks.indexing.size import comparing_bytes, rows_at_once, state_bytes


@pytest.mark.parametrize("n_examples", [1, 8, 20, 50])
def test_given_a_number_of_examples_when_a_state_is_made_then_a_feature_takes_what_was_expected(
    n_examples: int,
) -> None:
    held = LayerPass.empty(64, n_examples, torch.device("cpu"))
    assert sum(held.state_bytes()) == pytest.approx(64 * state_bytes(n_examples), rel=0.01)


def test_given_larger_sets_when_sized_then_rows_shrink_and_what_is_compared_at_once_is_bounded() -> None:
    rows = [rows_at_once(1 << power) for power in range(8, 30)]
    assert rows == sorted(rows, reverse=True)
    assert (rows[0], rows[-1]) == (2048, 1)
    sizes = [comparing_bytes(1 << power, 10**9) for power in range(4, 30)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == sizes[-2] < 1 << 30
