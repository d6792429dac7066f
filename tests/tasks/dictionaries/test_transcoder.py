"""Transcoders against float64 matrices: activations, writes, the bypass, gradients, and how little is read."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from store.errors import Damaged
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.splice import reconstruction
from tasks.dictionaries.transcoder import BLOCK_ROWS, Transcoder
from tasks.dictionaries.transcoder_files import load_transcoder_set
from tests.oracle.plain_dictionary import PlainDictionary
from tests.tasks.dictionaries.saved_transcoders import THRESHOLD, Weights, draw_weights, save_config
from tests.tiny import tiny_language_model

CPU = torch.device("cpu")
N_FEATURES = 2 * BLOCK_ROWS + 100
KINDS = ("relu", "topk", "jumprelu", "one-threshold", "skip")


def made(weights: Weights, k: int | None = None) -> Transcoder:
    skip, threshold = weights.get("W_skip"), weights.get(THRESHOLD)
    W_enc, W_dec, b_enc, b_dec = (weights[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec"))
    return Transcoder(2, W_enc, W_dec, b_enc, b_dec, skip, k, threshold, CPU)


def saved(directory: Path, kind: str, dtype: torch.dtype) -> Dictionary:
    """Layer 1 of a set whose other layers are small."""
    topk = kind == "topk"
    save_config(directory, activation="topk" if topk else None, k=7 if topk else None)
    for layer in range(3):
        weights = draw_weights(n_features=N_FEATURES if layer == 1 else 8, skip=kind == "skip", seed=layer)
        if kind == "jumprelu":
            weights = draw_weights(n_features=len(weights["b_enc"]), threshold=True, seed=layer)
        if kind == "one-threshold":
            weights[THRESHOLD] = torch.tensor(0.3)
        save_file({name: each.to(dtype) for name, each in weights.items()}, directory / f"layer_{layer}.safetensors")
    return load_transcoder_set(str(directory), tiny_language_model("llama"))[1]


def twin(path: Path, k: int | None = None) -> PlainDictionary:
    plain = {name: each.double() for name, each in load_file(path).items()}
    W_enc, b_enc, W_dec, b_dec = (plain[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    return PlainDictionary(W_enc, b_enc, W_dec, b_dec, on_hidden=False, k=k, skip=plain.get("W_skip"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_given_a_saved_set_when_loaded_then_it_computes_what_its_matrices_say(
    tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    transcoder = saved(tmp_path, kind, dtype)
    file = tmp_path / "layer_1.safetensors"
    plain = twin(file, 7 if kind == "topk" else None)
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(3))
    pre = plain.pre_activation(x.double())
    expected = plain.encode(x.double())
    if THRESHOLD in (threshold := load_file(file)):
        expected = torch.where(pre > threshold[THRESHOLD].double(), pre, 0.0)

    z = transcoder.encode(x)

    assert (transcoder.pre_activation(x) - pre).abs().max() < 1e-5
    assert torch.equal(z != 0, expected != 0)
    assert (z - expected).abs().max() < 1e-5
    assert 0 < (z != 0).sum() < z.numel()
    assert (reconstruction(transcoder, x) - plain.decode(expected) - plain.bypass(x.double())).abs().max() < 1e-4
    some = torch.tensor([0, 7, N_FEATURES - 1])
    assert torch.equal(transcoder.read_vectors(some).double(), plain.W_enc[some])
    assert torch.equal(transcoder.write_vectors(some).double(), plain.W_dec[some])
    assert torch.equal(transcoder.read_bias(some).double(), plain.b_enc[some])
    margin = transcoder.threshold_margin(x)
    assert (margin[z != 0] > 0).all()
    assert (margin[z == 0] <= 0).all()


def test_given_a_pre_activation_at_its_threshold_then_jumprelu_is_off_and_just_above_it_is_on() -> None:
    weights = draw_weights(n_features=3)
    weights["W_enc"].zero_()
    weights[THRESHOLD] = torch.tensor([0.5, 0.5, 0.25])
    weights["b_enc"] = torch.tensor([0.5, 0.5000001, 0.2])
    assert made(weights).encode(torch.ones(1, 32)).tolist() == [[0.0, pytest.approx(0.5000001), 0.0]]


def test_given_fewer_positive_pre_activations_than_k_then_topk_keeps_the_k_largest_all_the_same() -> None:
    weights = draw_weights(n_features=4)
    weights["W_enc"].zero_()
    weights["b_enc"] = torch.tensor([-3.0, 2.0, -1.0, -2.0])
    transcoder = made(weights, k=2)
    assert transcoder.encode(torch.ones(1, 32)).tolist() == [[0.0, 2.0, -1.0, 0.0]]
    assert transcoder.threshold_margin(torch.ones(1, 32)).tolist() == [[-2.0, 4.0, 1.0, -1.0]]


def test_given_a_linear_bypass_then_each_output_is_its_row_times_what_is_read() -> None:
    weights = draw_weights(d=2, n_features=1)
    weights["W_dec"].zero_()
    weights["b_dec"] = torch.tensor([10.0, 20.0])
    weights["W_skip"] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert reconstruction(made(weights), torch.tensor([[5.0, 7.0]])).tolist() == [[10.0 + 19.0, 20.0 + 43.0]]


@pytest.mark.parametrize("k", [None, 7])
@pytest.mark.parametrize("threshold", [False, True])
def test_given_a_run_that_goes_backward_then_gradients_are_those_of_the_matrices(
    k: int | None, threshold: bool
) -> None:
    transcoder = made(draw_weights(n_features=N_FEATURES, threshold=threshold), k)
    W_enc, b_enc = transcoder.W_enc.double(), transcoder.b_enc.double()
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(5)).requires_grad_()
    weight = torch.randn(3, N_FEATURES, generator=torch.Generator().manual_seed(6))
    z = transcoder.encode(x)
    (of_z,) = torch.autograd.grad((z * weight).sum(), x)
    (of_pre,) = torch.autograd.grad((transcoder.pre_activation(x) * weight).sum(), x)

    same = x.detach().double().requires_grad_()
    pre = same @ W_enc.T + b_enc
    mask = transcoder.encode(x.detach()) != 0
    (expected_z,) = torch.autograd.grad((pre * mask * weight).sum(), same, retain_graph=True)
    (expected_pre,) = torch.autograd.grad((pre * weight).sum(), same)
    assert (z.detach() - pre.detach() * mask).abs().max() < 1e-5
    assert (of_z - expected_z).abs().max() < 1e-4
    assert (of_pre - expected_pre).abs().max() < 1e-4


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.integers(0, 119), st.floats(-9, 9, width=32), max_size=12))
def test_given_few_active_features_when_decoded_then_it_is_the_whole_product(active: dict[int, float]) -> None:
    transcoder = made(draw_weights(n_features=40))
    z = torch.zeros(3, 40)
    for place, value in active.items():
        z[place // 40, place % 40] = value
    whole = z.double() @ transcoder.W_dec.double() + transcoder.b_dec.double()
    assert (transcoder.decode(z) - whole).abs().max() < 1e-4
    assert (transcoder.decode(z[0]) - whole[0]).abs().max() < 1e-4


@pytest.mark.parametrize("weight", ["W_enc", "W_dec"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_given_a_weight_that_is_not_finite_when_used_then_its_matrix_is_named(weight: str, value: float) -> None:
    weights = draw_weights()
    weights[weight][3, 1] = value
    transcoder = made(weights)
    with pytest.raises(Damaged, match=f"{weight} of layer 2 .* NaN or infinity"):
        transcoder.decode(transcoder.encode(torch.ones(2, 32)) + 1)
    with_a_run_that_broke_before = torch.full((1, 32), float("nan"))
    if weight == "W_enc":
        assert transcoder.pre_activation(with_a_run_that_broke_before).isnan().any()


MEASURED = """
import sys, threading, torch
from types import SimpleNamespace
from pathlib import Path
from tasks.dictionaries.transcoder_config import SetConfig
from tasks.dictionaries.transcoder_files import load_layer

def anonymous_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

torch.set_num_threads(1)
torch.randn(64, 64) @ torch.randn(64, 64)
peak, done = [], threading.Event()
def watch():
    while not done.wait(0.002):
        peak.append(anonymous_kb())
before = anonymous_kb()
watcher = threading.Thread(target=watch)
watcher.start()
model = SimpleNamespace(d_model=1024, device=torch.device("cpu"), spec="shape")
transcoder = load_layer(Path(sys.argv[1]), 0, model, SetConfig(None, None, None, None))
z = transcoder.encode(torch.ones(4, 1024))
y = transcoder.decode(z)
done.set()
watcher.join()
print(z.sum().item(), y[0, 0].item(), max(peak) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_given_matrices_far_larger_than_the_memory_allowed_when_encoded_and_decoded_then_rows_are_enough(
    tmp_path: Path,
) -> None:
    """512 MB of bfloat16 in a sparse file; a float32 copy of one matrix would be 512 MB."""
    file, active = tmp_path / "layer_0.safetensors", 100_000
    write_sparse(file, 131_072, 1024, active)
    done = subprocess.run([sys.executable, "-c", MEASURED, str(file)], capture_output=True, text=True, check=True)
    total, written, anonymous_kb = (float(each) for each in done.stdout.split())
    assert (total, written) == (4 * 2.0, 2.0 * 3.0)
    assert anonymous_kb < 48 * 1024


def write_sparse(file: Path, n_features: int, d: int, active: int) -> None:
    """All weights zero but b_enc[active] = 2 and W_dec[active, 0] = 3."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in {
        "W_enc": [n_features, d],
        "W_dec": [n_features, d],
        "b_enc": [n_features],
        "b_dec": [d],
    }.items():
        begin, end = end, end + 2 * int(torch.tensor(shape).prod())
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def put(name: str, index: int, value: Tensor) -> None:
        out.seek(8 + len(text) + header[name]["data_offsets"][0] + 2 * index)
        out.write(bytes(value.bfloat16().reshape(1).view(torch.uint8).tolist()))

    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + end)
        put("b_enc", active, torch.tensor(2.0))
        put("W_dec", active * d, torch.tensor(3.0))
