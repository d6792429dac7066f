"""Transcoder sets of the hub, against a stand-in on this machine.

They are loaded in a process of its own, because the hub's address and cache are fixed at import.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tasks.dictionaries.hub_stand_in import COMMIT, GATED, hub
from tests.tasks.dictionaries.saved_transcoders import draw_weights, save_config, save_set

LOAD = """
import json, sys
import torch
from store.errors import WorkbenchError
from tasks.dictionaries.transcoder_files import load_transcoder_set
from tests.tiny import tiny_language_model

def outcome(spec):
    try:
        held = load_transcoder_set(spec, tiny_language_model("llama"))
    except WorkbenchError as error:
        return [error.exit_code, str(error)]
    biases = [held[layer].read_bias(torch.tensor([3])).item() for layer in sorted(held.layers)]
    return [0, held.name, biases]

print(json.dumps({spec: outcome(spec) for spec in sys.argv[1:]}))
"""
BIASES = [draw_weights(seed=layer)["b_enc"][3].item() for layer in range(3)]
Outcomes = dict[str, list[object]]


def load(cache: Path, *specs: str, **environment: str) -> Outcomes:
    settings = {"HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *specs],
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes: Outcomes = json.loads(done.stdout)
    return outcomes


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repositories")
    save_set(root / "org" / "plain")
    save_set(root / "org" / "many" / "width" / "small")
    (root / "org" / "listed").mkdir()
    beside = root / "org" / "listed" / "weights"
    save_set(beside)
    listed = ["hf://org/plain/layer_0.safetensors", "weights/layer_1.safetensors"]
    save_config(root / "org" / "listed", transcoders=[*listed, "hf://org/plain/layer_2.safetensors?revision=v1"])
    save_config(root / "org" / "outside", transcoders=["../../plain/layer_0.safetensors", "b", "c"])
    save_config(root / "org" / "clt", model_kind="cross_layer_transcoder")
    save_set(root / "org" / "short", 2)
    save_set(root / "org" / "long", 4)
    save_set(root / "org" / "wide", d=48)
    (save_set(root / "org" / "hole") / "layer_1.safetensors").unlink()
    return root


@pytest.fixture(scope="module")
def online(repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outcomes, list[str], Path]]:
    """What each spec comes to with the hub in reach, what was fetched for it, and the cache that is left."""
    cache = tmp_path_factory.mktemp("cache")
    good = ("org/plain", "org/plain@v1", "org/many/width/small", "org/listed")
    bad = ("outside", "clt", "short", "long", "wide", "hole", "nothing", "gated", "plain@v9", "plain/elsewhere")
    with hub(repositories) as (address, fetched):
        outcomes = load(cache, *good, *(f"org/{name}" for name in bad), HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    yield outcomes, fetched, cache


@pytest.mark.parametrize(
    ("spec", "pinned"),
    [
        ("org/plain", f"org/plain@{COMMIT}"),
        ("org/plain@v1", f"org/plain@{COMMIT}"),
        ("org/many/width/small", f"org/many/width/small@{COMMIT}"),
        ("org/listed", f"org/listed@{COMMIT}"),
    ],
)
def test_given_a_set_on_the_hub_when_loaded_then_its_layers_are_there_and_its_name_holds_the_commit(
    online: tuple[Outcomes, list[str], Path], spec: str, pinned: str
) -> None:
    assert online[0][spec] == [0, f"transcoder:{pinned}", BIASES]


@pytest.mark.parametrize(
    ("name", "exit_code", "words"),
    [
        ("outside", 2, "lists ../../plain/layer_0.safetensors, which is outside its repository"),
        ("clt", 2, "config.yaml of org/clt describes a cross_layer_transcoder, not a transcoder_set"),
        ("short", 2, "org/short has 2 layers, the model has 3"),
        ("long", 2, "org/long has 4 layers, the model has 3"),
        ("wide", 2, "reads d_model 48, the model has 32"),
        ("hole", 2, "org/hole holds no layer_1.safetensors"),
        ("nothing", 2, "the hub has no repository org/nothing; check the name, or log in if it is private"),
        ("gated", 3, "org/gated is gated on the hub; ask for access"),
        ("plain@v9", 2, "org/plain has no revision v9; name a branch, tag or commit"),
        ("plain/elsewhere", 2, "the hub has no org/plain/elsewhere/config.yaml"),
    ],
)
def test_given_a_set_that_cannot_be_had_or_used_when_loaded_then_one_line_says_why(
    online: tuple[Outcomes, list[str], Path], name: str, exit_code: int, words: str
) -> None:
    assert GATED == "org/gated"
    code, line = online[0][f"org/{name}"]
    assert code == exit_code
    assert isinstance(line, str) and words in line and "\n" not in line


def test_given_a_set_of_another_width_or_depth_when_refused_then_at_most_one_layer_was_fetched(
    online: tuple[Outcomes, list[str], Path],
) -> None:
    """A real layer is 1.7 GB. One fetch a layer of plain, small and listed; of the refused sets one layer in all."""
    assert sum(name.startswith("layer_") for name in online[1]) == 3 + 3 + 1 + 1


def test_given_a_cache_that_holds_the_set_when_offline_then_it_loads_and_what_it_lacks_is_named(
    online: tuple[Outcomes, list[str], Path],
) -> None:
    cache = online[2]
    found = load(cache, "org/plain", f"org/plain@{COMMIT}", "org/hole", "org/never", HF_HUB_OFFLINE="1")
    pinned = f"org/plain@{COMMIT}"
    assert found["org/plain"] == found[pinned] == [0, f"transcoder:{pinned}", BIASES]
    for spec, file in (("org/hole", f"layer_0.safetensors@{COMMIT}"), ("org/never", "config.yaml")):
        code, line = found[spec]
        assert code == 3
        assert f"{spec}/{file} is not in the hub's cache and could not be fetched; check the network" in str(line)


def test_given_a_hub_that_does_not_answer_when_loaded_then_the_cache_serves_and_the_rest_is_one_line(
    online: tuple[Outcomes, list[str], Path],
) -> None:
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    found = load(online[2], "org/plain", "org/never", **nobody)
    assert found["org/plain"] == [0, f"transcoder:org/plain@{COMMIT}", BIASES]
    code, line = found["org/never"]
    assert code == 3
    assert "could not be fetched" in str(line) and "\n" not in str(line)
