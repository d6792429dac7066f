"""What a run says it will take, and how layers are grouped by it."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput, WorkbenchError
from tasks.train import size_in_bytes
from tasks.training import estimate
from tasks.training.plan import TrainingPlan

PLAN = TrainingPlan(n_features=4096, k=32, batch_size=2048, learning_rate=1e-3, seed=0, total_rows=10_000)


@given(n_layers=st.integers(1, 40), gigabytes=st.floats(1.0, 40.0))
def test_groups_hold_every_layer_once_in_order_and_fit_the_bound(n_layers: int, gigabytes: float) -> None:
    layers, bound = list(range(3, 3 + n_layers)), int(gigabytes * 1e9)
    groups = estimate.grouped(layers, PLAN, 1536, 10**8, bound)
    assert [layer for group in groups for layer in group] == layers
    largest = max(map(len, groups))
    assert estimate.training_bytes(PLAN, 1536, largest, 10**8) <= bound
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    if len(groups) > 1:
        fewer = -(-n_layers // (len(groups) - 1))
        assert estimate.training_bytes(PLAN, 1536, fewer, 10**8) > bound


def test_one_layer_that_does_not_fit_is_refused_with_both_figures() -> None:
    with pytest.raises(BadInput, match=r"one layer needs 0\.\d\d GiB to train and 0\.09 GiB may be used"):
        estimate.grouped([1, 2], PLAN, 1536, 10**8, 10**8)


def test_a_disk_without_room_is_refused_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2**30))
    estimate.refuse_full_disk(tmp_path, 2**29)
    with pytest.raises(WorkbenchError, match=r"needs about 3\.15 GiB of disk .* has 1\.00 GiB free"):
        estimate.refuse_full_disk(tmp_path, 3 * 2**30)


def test_a_tried_step_gives_seconds_by_the_row() -> None:
    small = TrainingPlan(n_features=32, k=4, batch_size=64, learning_rate=1e-3, seed=0, total_rows=1000)
    assert 0 < estimate.seconds_per_row(small, 24, torch.device("cpu")) < 1


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("2GiB", 2**31), ("512MB", 512_000_000), ("1.5 kB", 1500), ("77", 77), ("3tib", 3 * 2**40)]
)
def test_sizes_are_read_in_decimal_and_binary_units(text: str, n_bytes: int) -> None:
    assert size_in_bytes(text, "--buffer") == n_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-3GB", "0", "2 light years"])
def test_what_is_no_size_is_refused_by_the_options_name(text: str) -> None:
    with pytest.raises(BadInput, match=r"--buffer .* is no size"):
        size_in_bytes(text, "--buffer")
