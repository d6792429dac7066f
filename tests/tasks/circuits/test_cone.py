"""Which positions of which rows are carried, and that none is carried that need not be."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.circuits.cone import NOWHERE, Cone
from tests.tasks.circuits.test_sweep import LOGITS, made
from tests.tiny import FAMILIES


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 1))
def test_every_row_has_a_slot_for_each_position_up_to_its_own_and_no_other(positions: list[int], first: int) -> None:
    cone = Cone(torch.tensor(positions), first)
    pairs = [(row, at) for row, position in enumerate(positions) for at in range(first, position + 1)]
    assert list(zip(cone.row.tolist(), cone.position.tolist(), strict=True)) == pairs
    slot = {pair: number for number, pair in enumerate(pairs, start=1)}
    for at in range(first, cone.n_positions):
        assert cone.slots[at - first].tolist() == [slot.get((row, at), NOWHERE) for row in range(len(positions))]
    assert cone.last.tolist() == [slot[row, position] for row, position in enumerate(positions)]
    assert cone.ends == [1 + sum(row < n for row, _ in pairs) for n in range(len(positions) + 1)]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.data())
def test_a_row_that_has_met_no_attention_has_one_slot_at_its_own_position(
    positions: list[int], data: st.DataObject
) -> None:
    begun = data.draw(st.integers(1, len(positions)))
    spread = data.draw(st.integers(0, begun))
    cone = Cone(torch.tensor(positions), 1)
    slots = cone.fresh_slots(spread, begun)
    assert torch.equal(slots[:, :spread], cone.slots[:, :spread])
    for row in range(spread, begun):
        expected = [cone.ends[spread] + row - spread if at == positions[row] else NOWHERE for at in range(1, 10)]
        assert slots[:, row].tolist() == expected[: len(slots)]


@pytest.mark.parametrize(
    ("family", "kind"), [*((family, "sae") for family in FAMILIES), ("qwen2", "skip"), ("gemma2", "skip")]
)
def test_position_0_in_closed_form_is_position_0_pulled_back(family: str, kind: str) -> None:
    sweep = made(family, kind)
    targets = sweep.target_rows(LOGITS)
    seen: list[int] = []
    plain = sweep.pull_back(targets)
    every = sweep.pull_back(targets, observe=lambda layer, gradient: seen.append(layer))
    assert sweep.values_at_first() and len(seen) == sweep.model.n_layers
    token = sweep.sources.first_token
    assert bool((every.shares[:, token] != 0).all())
    torch.testing.assert_close(plain.shares, every.shares, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.bias, every.bias, rtol=1e-4, atol=1e-5)


def test_position_0_as_a_source_is_pulled_back() -> None:
    assert made("qwen2", "sae", first=True).values_at_first() == []
