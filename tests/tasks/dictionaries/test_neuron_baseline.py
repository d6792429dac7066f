"""The largest neurons as a dictionary, and the densities of features, against their definitions written out."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.dictionaries.faithfulness import measure_recovery
from tasks.dictionaries.neuron_baseline import NeuronMeter, largest_neurons
from tasks.dictionaries.quality import DENSITY_EDGES, QualityMeter
from tests.tasks.dictionaries.test_foreign_formats import autoencoder, rows
from tests.tasks.model.test_hidden import batch
from tests.tiny import tiny_language_model


@given(seed=st.integers(0, 1000), k=st.integers(1, 9))
def test_given_rows_in_pieces_then_the_curve_is_the_fvu_of_the_k_largest_at_every_k(seed: int, k: int) -> None:
    h = torch.randn(40, 9, generator=torch.Generator().manual_seed(seed)) + 0.3
    meter = NeuronMeter()
    for piece in h.split(7):
        meter.add(piece)
    kept = largest_neurons(h, k)
    assert ((kept != 0).sum(1) == k).all()
    assert all(row.abs().max() <= other.abs().min() for row, other in _left_out(h, kept, k))
    by_hand = float((h - kept).double().square().sum() / (h - h.mean(0)).double().square().sum())
    assert meter.fvu(k) == pytest.approx(by_hand, abs=1e-6)
    assert meter.fvu(0) == pytest.approx(float(h.square().sum() / (h - h.mean(0)).square().sum()), rel=1e-5)
    assert meter.fvu(99) == 0.0


def _left_out(h: torch.Tensor, kept: torch.Tensor, k: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    pairs = ((row[chosen == 0], row[chosen != 0]) for row, chosen in zip(h, kept, strict=True))
    return [pair for pair in pairs if len(pair[0])] if k < h.shape[1] else []


def test_given_an_fvu_then_the_neurons_needed_are_the_fewest_that_lose_no_more() -> None:
    meter = NeuronMeter()
    meter.add(rows())
    for fvu in (0.9, 0.5, 0.1, 0.01):
        needed = meter.needed(fvu)
        assert meter.fvu(needed) <= fvu < meter.fvu(needed - 1)
    assert meter.needed(2.0) == 0


def test_given_features_of_known_density_then_each_is_in_its_bin_and_the_dead_in_none() -> None:
    sae = autoencoder("relu")
    meter = QualityMeter(sae, torch.eye(48))
    h = torch.randn(500, 48, generator=torch.Generator().manual_seed(0)) - 0.4
    meter.add(h)
    quality = meter.quality()
    density = (sae.encode(h) > 0).double().mean(0)
    expected = [0] * (len(DENSITY_EDGES) - 1)
    for share in density.tolist():
        if share > 0:
            place = max(i for i, edge in enumerate(DENSITY_EDGES[:-1]) if math.log10(share) >= edge)
            expected[place] += 1
    assert list(quality.density_histogram) == expected
    assert sum(expected) == round((1 - quality.dead_share) * 24)
    assert quality.document()["density_histogram"]["features"] == expected
    assert quality.explained_variance == 1 - quality.fvu


def test_given_all_neurons_when_they_stand_in_place_then_nothing_is_lost_and_with_none_left_it_is_zero_ablation() -> (
    None
):
    model, sae = tiny_language_model("llama"), {1: autoencoder("topk")}
    windows, means = [batch([9, 7])], {1: torch.zeros(48)}
    ((all_of_them,), _) = _measured(model, sae, means, windows, 48)
    assert all_of_them.beside("neurons")["ce_recovered"] == pytest.approx(1.0, abs=1e-4)
    assert all_of_them.ce["neurons"] == pytest.approx(all_of_them.ce_clean, abs=1e-5)
    ((some,), joint) = _measured(model, sae, means, windows, 5)
    assert some.kl["neurons"] > 0 and some.ce["neurons"] == joint.ce["neurons"]
    without = measure_recovery(model, sae, means, windows, lambda _n: None)[1]
    assert "neurons" not in without.ce
    assert without.ce["replaced"] == joint.ce["replaced"]


def _measured(model: Any, sae: Any, means: Any, windows: Any, k: int) -> Any:
    by_layer, joint = measure_recovery(model, sae, means, windows, lambda _n: None, {1: k})
    return list(by_layer.values()), joint
