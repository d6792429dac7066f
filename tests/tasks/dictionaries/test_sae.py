"""The autoencoder against its formulas written out, and its file against damage."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from store.errors import Damaged
from tasks.dictionaries.sae import SparseAutoencoder, load_autoencoder


def autoencoder(k: int | None, n_features: int = 12, width: int = 7, seed: int = 0) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((n_features, width), (n_features,), (n_features, width), (width,))
    w_enc, b_enc, w_dec, b_dec = (torch.randn(shape, generator=generator) for shape in shapes)
    return SparseAutoencoder(3, w_enc, b_enc, w_dec, b_dec, k, n_features)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_topk_keeps_the_k_largest_positive_features_of_each_token(seed: int, k: int) -> None:
    sae = autoencoder(k, seed=seed)
    x = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(seed + 1))
    z = sae.encode(x)
    for row, codes in zip(x.reshape(-1, 7), z.reshape(-1, 12), strict=True):
        pre = [float(sae.W_enc[i] @ row + sae.b_enc[i]) for i in range(12)]
        kept = sorted((i for i in range(12) if pre[i] > 0), key=lambda i: -pre[i])[:k]
        assert {int(i) for i in codes.nonzero()[:, 0]} == set(kept)
        assert torch.allclose(codes[kept], torch.tensor([pre[i] for i in kept]), atol=1e-5)


@given(seed=st.integers(0, 10_000), k=st.one_of(st.none(), st.integers(1, 12)))
def test_a_margin_is_positive_just_where_the_feature_is_active(seed: int, k: int | None) -> None:
    sae = autoencoder(k, seed=seed)
    x = torch.randn(6, 7, generator=torch.Generator().manual_seed(seed + 1))
    assert torch.equal(sae.threshold_margin(x) > 0, sae.encode(x) > 0)


@given(seed=st.integers(0, 10_000), k=st.one_of(st.none(), st.integers(1, 11)))
def test_lowering_a_pre_activation_by_more_than_its_margin_switches_it_off(seed: int, k: int | None) -> None:
    sae = autoencoder(k, seed=seed)
    x = torch.randn(7, generator=torch.Generator().manual_seed(seed + 1))
    margin = sae.threshold_margin(x)
    for feature in (margin > 1e-3).nonzero()[:, 0].tolist():
        for share, expected in ((0.99, True), (1.01, False)):
            lowered = sae.b_enc.clone()
            lowered[feature] -= share * margin[feature]
            moved = SparseAutoencoder(3, sae.W_enc, lowered, sae.W_dec, sae.b_dec, k, 12)
            assert bool(moved.encode(x)[feature] > 0) is expected


def test_decoding_adds_write_vectors_to_the_write_bias() -> None:
    sae = autoencoder(4)
    z = sae.encode(torch.randn(5, 7, generator=torch.Generator().manual_seed(1)))
    features = torch.arange(12)
    by_hand = sum(z[:, i, None] * sae.write_vectors(features)[i] for i in range(12)) + sae.write_bias
    assert torch.allclose(sae.decode(z), torch.as_tensor(by_hand), atol=1e-5)
    projection = torch.randn(3, 7)
    assert torch.allclose(sae.writes_through(features, projection), sae.write_vectors(features) @ projection.T)


def test_pre_activations_are_read_vectors_and_read_bias() -> None:
    sae = autoencoder(4)
    x = torch.randn(5, 7)
    features = torch.tensor([9, 0, 3])
    by_hand = x @ sae.read_vectors(features).T + sae.read_bias(features)
    assert torch.allclose(sae.pre_activation(x)[:, features], by_hand, atol=1e-5)


def test_a_saved_autoencoder_comes_back_bitwise(tmp_path: Path) -> None:
    sae = autoencoder(4)
    sae.save(tmp_path / "L3.safetensors")
    back = load_autoencoder(tmp_path / "L3.safetensors", 3, sae.config(), torch.device("cpu"))
    assert back.k == 4 and back.layer == 3
    assert all(torch.equal(getattr(back, name), getattr(sae, name)) for name in ("W_enc", "b_enc", "W_dec", "b_dec"))


@pytest.mark.parametrize("fault", ["shape", "dtype", "missing", "extra", "truncated", "not safetensors"])
def test_a_file_that_is_not_what_its_row_says_is_damaged(tmp_path: Path, fault: str) -> None:
    sae, path = autoencoder(4), tmp_path / "L3.safetensors"
    tensors = {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    if fault == "shape":
        tensors["W_dec"] = torch.zeros(7, 12)
    elif fault == "dtype":
        tensors["b_enc"] = tensors["b_enc"].double()
    elif fault == "missing":
        del tensors["b_dec"]
    elif fault == "extra":
        tensors["threshold"] = torch.zeros(12)
    save_file(tensors, path)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    elif fault == "not safetensors":
        path.write_bytes(b"no header here")
    with pytest.raises(Damaged, match=r"L3\.safetensors"):
        load_autoencoder(path, 3, sae.config(), torch.device("cpu"))


def jumping(seed: int) -> SparseAutoencoder:
    """A JumpReLU one, with thresholds from 0 to 1."""
    return replace(
        autoencoder(None, seed=seed), threshold=torch.rand(12, generator=torch.Generator().manual_seed(seed))
    )


@given(seed=st.integers(0, 10_000))
def test_jumprelu_keeps_what_exceeds_its_threshold_as_it_is(seed: int) -> None:
    sae = jumping(seed)
    x = torch.randn(6, 7, generator=torch.Generator().manual_seed(seed + 1))
    assert sae.threshold is not None
    for row, codes in zip(x, sae.encode(x), strict=True):
        for i in range(12):
            pre = float(sae.W_enc[i] @ row + sae.b_enc[i])
            assert float(codes[i]) == pytest.approx(pre if pre > float(sae.threshold[i]) else 0.0, abs=1e-5)
    assert torch.equal(sae.threshold_margin(x) > 0, sae.encode(x) > 0)


def test_a_saved_jumprelu_comes_back_bitwise_and_its_threshold_is_not_optional(tmp_path: Path) -> None:
    sae = jumping(0)
    sae.save(tmp_path / "L3.safetensors")
    back = load_autoencoder(tmp_path / "L3.safetensors", 3, sae.config(), torch.device("cpu"))
    assert back.activation == "jumprelu" and back.threshold is not None and sae.threshold is not None
    assert torch.equal(back.threshold, sae.threshold)
    autoencoder(None).save(tmp_path / "none.safetensors")
    with pytest.raises(Damaged, match="does not hold threshold"):
        load_autoencoder(tmp_path / "none.safetensors", 3, sae.config(), torch.device("cpu"))


def test_a_row_from_before_jumprelu_loads_as_it_was(tmp_path: Path) -> None:
    autoencoder(4).save(tmp_path / "old.safetensors")
    old = {"n_features": 12, "d_mlp": 7, "k": 4, "dtype": "float32"}
    assert load_autoencoder(tmp_path / "old.safetensors", 3, old, torch.device("cpu")).activation == "topk"
