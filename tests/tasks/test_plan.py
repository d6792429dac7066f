"""The planner's numbers beside arithmetic done by hand, real models' parameters, and the trainer's own estimate."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from store.errors import BadInput, Damaged, Missing
from tasks.model.shapes import SHAPES
from tasks.plan import Params, budget, document, shape_of
from tests.tiny import FAMILIES, save_tiny, tiny_hf
from tests.workbench.command_line import workbench

QWEN = "Qwen/Qwen3-4B-Instruct-2507"


def _plan(**options: Any) -> dict[str, Any]:
    return document(Params(**({"model": QWEN} | options)))


def test_qwen3_4b_has_the_parameters_of_its_shape_by_hand() -> None:
    queries = 2560 * (32 * 128)  # 10 485 760
    keys_and_values = 2 * 2560 * (8 * 128)  # 5 242 880
    output = (32 * 128) * 2560  # 10 485 760
    mlp = 3 * 2560 * 9728  # 74 711 040
    norms = 2 * 2560 + 2 * 128  # before attention and MLP, of queries and keys: 5 376
    layer = 100_930_816
    assert queries + keys_and_values + output + mlp + norms == layer
    embedding = 151_936 * 2560  # 388 956 160; tied
    whole = 4_022_468_096
    assert 36 * layer + embedding + 2560 == whole
    shape = shape_of(QWEN)
    assert (shape.layer_parameters, shape.parameters) == (layer, whole)
    assert _plan()["model_parameters"] == whole
    assert _plan()["model_bytes"] == 2 * whole == 8_044_936_192
    assert _plan(dtype="float32", device_memory="120GB")["model_bytes"] == 4 * whole


def test_the_flops_of_qwen3_4b_by_hand() -> None:
    """100 million tokens, 16 384 features, 64 active, 36 layers in one group on a device that is large enough."""
    found = _plan(features=16_384, tokens=100_000_000, l0=64, device_memory="400GB")
    assert found["groups"] == [list(range(36))]
    rows = 99_000_000  # one in a hundred is held out
    assert found["rows"] == rows
    matrices = 10_485_760 + 5_242_880 + 10_485_760 + 74_711_040  # 100 925 440
    attention = 4 * 32 * 128 * 128  # q·k and values, 2 each, over 128 positions on average: 2 097 152
    forward = rows * 36 * (2 * matrices + attention)
    assert forward == pytest.approx(7.268e17, rel=1e-3)
    assert found["forward_flops"] == forward
    encoder = 2 * 16_384 * 9728  # 318 767 104
    active = 4 * 2 * 64 * 9728  # decoder, codes' gradient, two weights' gradients: 4 980 736
    training = rows * 36 * (encoder + active)
    assert training == pytest.approx(1.154e18, rel=1e-3)
    assert found["training_flops"] == training and found["dense"] is False
    steps = 24_170  # ⌈99 000 000 / 4096⌉
    assert found["steps"] == steps
    adam = 2 * (16_384 * 9728) * 4 * 6 * steps  # weights, two averages, read and written
    gathers = 4 * 64 * 9728 * 4 * rows
    moved = 36 * (adam + gathers)
    assert found["moved_bytes"] == moved
    held = (64 << 30) // (36 * 9728 * 2)  # tokens whose activations of every layer fit the buffer: 98 112
    assert (held, found["rounds"]) == (98_112, 1010)  # ⌈99 000 000 / 98 112⌉
    written = 36 * 25 * (6 * 16_384 * 9728 * 4)  # ⌈24 170 / 1000⌉ times weights and averages of every layer
    assert found["written_bytes"] == written
    computing = (forward + training) / (0.4 * 312e12) + moved / (0.4 * 2e12)
    assert found["seconds"] == pytest.approx(computing + written / 2e9, rel=1e-12)
    assert computing / 3600 == pytest.approx(18.9, rel=0.02)


def test_memory_and_disk_of_qwen3_4b_by_hand() -> None:
    found = _plan(features=16_384, l0=64)
    one = 16_384 * 9728  # 159 383 552 weights a matrix
    layer = 6 * one * 4  # encoder and decoder, each with two averages: 3.83 GB
    batch = 6 * 4096 * 9728 * 4 + (1 << 22) * 4 + 2 * one + 40 * 4096 * 64  # rows, scores, bfloat16 encoder, codes
    finished = 2 * one * 4
    working = 2048 * (4 * 9728 + 6 * 2560 + 2 * 4096 + 2 * 36 * 9728) * 2
    bound = (80 * 10**9 - 8_044_936_192 - working) // 10**9 * 10**9
    assert found["memory_bound"] == bound == 68 * 10**9
    most = 1 + (bound - layer - batch - finished) // layer
    assert most == 17
    assert [len(group) for group in found["groups"]] == [12, 12, 12]
    assert found["device_bytes"] == 8_044_936_192 + working + 12 * layer + batch + finished
    assert found["device_bytes"] < 80e9
    assert found["host_bytes"] == 64 << 30
    weights = 36 * 2 * one * 4
    assert found["disk_bytes"] == 2 * weights + 13 * layer + 8_044_936_192
    parameters = 36 * (2 * one + 16_384 + 9728)
    assert found["sae_parameters"] == parameters and found["sae_bytes"] == 4 * parameters
    assert found["trace_bytes"] == 8_044_936_192 + 4 * parameters
    assert found["captured_bytes"] == 100_000_000 * 36 * 9728 * 2  # 70 TB


def test_each_group_costs_a_forward_pass_up_to_its_last_layer() -> None:
    found = _plan(layers="0,10,20,30", features=98_304, l0=64)
    assert found["groups"] == [[0, 10], [20, 30]]
    a_layer = 2 * 100_925_440 + 2_097_152
    assert found["forward_flops"] == 99_000_000 * a_layer * (11 + 31)


def test_many_active_features_make_every_product_dense() -> None:
    sparse, dense = (_plan(features=16_384, l0=l0) for l0 in (126, 127))
    assert (sparse["dense"], dense["dense"]) == (False, True)
    assert dense["training_flops"] == 99_000_000 * 36 * 10 * 16_384 * 9728


def test_the_command_is_planned_by_the_trainer_as_by_the_planner() -> None:
    """The command's options, through the trainer's own parser and functions, give the same groups and disk."""

    from tasks.train import Params as Training
    from tasks.training.estimate import disk_needed, grouped

    found = _plan(features=16_384, l0=64)
    words = shlex.split(found["command"])
    assert words[:4] == ["workbench", "--project", "PROJECT", "train"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    training = Training.model_validate({flag[2:].replace("-", "_"): value for flag, value in given.items()})
    assert training.layers == "0-35" and training.precision == "bfloat16"
    plan = training.plan(found["rows"])
    assert training.memory_bytes is not None
    groups = grouped(range(36), plan, 9728, 0, training.memory_bytes)
    assert groups == found["groups"]
    assert disk_needed(plan, 9728, groups) + found["model_bytes"] == found["disk_bytes"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_directory_has_as_many_parameters_as_its_model(family: str, tmp_path: Path) -> None:
    directory = save_tiny(family, tmp_path / family)
    counted = sum(parameter.numel() for parameter in tiny_hf(family).parameters())
    assert shape_of(str(directory)).parameters == counted


@pytest.mark.parametrize(
    ("name", "billions"),
    [("builtin:smollm2-135m", 0.1345), ("Qwen/Qwen3-0.6B", 0.596), ("Qwen/Qwen3-1.7B", 1.721),
     ("Qwen/Qwen3-4B", 4.022), ("Qwen/Qwen3-8B", 8.191), ("google/gemma-2-2b", 2.614),
     ("meta-llama/Llama-3.2-1B", 1.236), ("meta-llama/Llama-3.1-8B", 8.030)],
)  # fmt: skip
def test_known_shapes_have_the_published_number_of_parameters(name: str, billions: float) -> None:
    assert SHAPES[name].parameters / 1e9 == pytest.approx(billions, rel=1e-3)
    assert shape_of(name.upper()) == SHAPES[name]


@pytest.mark.embedded
def test_the_embedded_model_has_its_known_shape() -> None:
    from tasks.model.embedded import embedded_directory

    assert shape_of(str(embedded_directory(print))) == SHAPES["builtin:smollm2-135m"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "/nowhere/at/all"}, Missing, "there is no model at /nowhere/at/all; give a directory, a hub id"),
        ({"model": "someone/unheard-of"}, Missing, "neither known nor in the hub's cache"),
        ({"layers": "36"}, BadInput, "its layers are 0 to 35"),
        ({"layers": "x"}, BadInput, "is not a layer"),
        ({"l0": 64, "features": 32}, BadInput, "keeps more features than the 32"),
        ({"device_memory": "6GB"}, BadInput, "the model alone takes"),
        ({"features": 2_000_000}, BadInput, "one layer needs"),
        ({"buffer": "much"}, BadInput, "--buffer 'much' is no size"),
    ],
)
def test_what_cannot_be_planned_is_said(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        _plan(**options)


def test_a_configuration_that_cannot_be_read_or_is_not_supported_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no config.json"):
        shape_of(str(tmp_path))
    (tmp_path / "config.json").write_text("{nonsense")
    with pytest.raises(Damaged, match=r"config.json of .* cannot be read"):
        shape_of(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(BadInput, match="gpt2"):
        shape_of(str(tmp_path))


def test_a_smaller_run_never_takes_more() -> None:
    whole = budget(Params(model=QWEN))[1]
    kept = ("seconds", "disk_bytes", "captured_bytes", "training_flops", "forward_flops", "sae_bytes")
    for smaller in ({"layers": "0-17"}, {"features": 12_288}, {"tokens": 10_000_000}):
        part = budget(Params(model=QWEN, **smaller))[1]
        for name in kept:
            assert getattr(part, name) <= getattr(whole, name), (smaller, name)


GUIDE = Path(__file__).parents[2] / "docs" / "qwen3.md"
_SHOWN = re.compile(r"^```console\n\$ workbench (plan [^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = _SHOWN.findall(GUIDE.read_text("utf-8"))


@pytest.mark.parametrize(("command", "printed"), SHOWN)
def test_the_guide_shows_what_the_planner_prints(
    command: str, printed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "112")
    ran = workbench(capsys, *shlex.split(command))
    assert [line.rstrip() for line in ran.out.splitlines()] == printed.splitlines()


def test_the_guide_shows_three_plans_and_the_command_of_the_longest() -> None:
    assert len(SHOWN) == 3
    options = Params(model=QWEN, features=16_384, l0=64, tokens=100_000_000, buffer="256GiB")
    asked = document(options)["command"].removeprefix("workbench --project PROJECT ")
    [trained] = re.findall(r"^\$ workbench (train --layers 0-35 .*)$", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert set(shlex.split(asked)) <= set(shlex.split(trained))
