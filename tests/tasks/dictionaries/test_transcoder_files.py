"""Where transcoder sets come from, and what is refused, with which words."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from store.errors import BadInput, Damaged
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.transcoder_files import load_transcoder_set
from tasks.dictionaries.transcoder_hub import HubPlace
from tasks.model.language_model import LanguageModel
from tests.tasks.dictionaries.saved_transcoders import THRESHOLD, draw_weights, save_config, save_set
from tests.tiny import tiny_hf, tiny_language_model, tiny_tokenizer

CONVERT = "save_transcoders_to_cache"


def load(place: Path | str, family: str = "llama") -> DictionarySet:
    return load_transcoder_set(str(place), tiny_language_model(family))


def first_bias(held: DictionarySet) -> list[torch.Tensor]:
    return [held[layer].read_bias(torch.arange(40)) for layer in sorted(held.layers)]


def same_set(held: DictionarySet) -> bool:
    expected = [draw_weights(seed=layer)["b_enc"] for layer in range(3)]
    return all(map(torch.equal, first_bias(held), expected)) and len(held.layers) == 3


def test_given_a_directory_or_its_config_when_loaded_then_it_is_the_set_and_its_name_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = save_set(tmp_path / "set")
    shutil.copy(directory / "config.yaml", directory / "other.yaml")
    monkeypatch.chdir(tmp_path)
    for place in (directory, "set", directory / "config.yaml", "set/other.yaml"):
        held = load(place)
        assert same_set(held)
        assert held.name == f"transcoder:{Path(place).resolve()}"
        assert held.only([1]).name == held.name
        assert (
            load_transcoder_set(held.name.removeprefix("transcoder:"), tiny_language_model("llama")).name == held.name
        )


def test_given_a_list_of_relative_paths_when_loaded_then_layers_are_in_its_order_beside_the_config(
    tmp_path: Path,
) -> None:
    directory = save_set(tmp_path / "set")
    (tmp_path / "elsewhere").mkdir()
    for layer, name in enumerate(("c", "a", "b")):
        (directory / f"layer_{layer}.safetensors").rename(tmp_path / "elsewhere" / f"{name}.safetensors")
    listed = [f"../elsewhere/{name}.safetensors" for name in ("c", "a")] + [
        str(tmp_path / "elsewhere" / "b.safetensors")
    ]
    save_config(directory, transcoders=listed)
    assert same_set(load(directory))


def test_given_a_family_with_one_norm_when_its_set_writes_at_hook_mlp_out_then_that_is_the_same_place(
    tmp_path: Path,
) -> None:
    assert same_set(load(save_set(tmp_path, feature_output_hook="hook_mlp_out")))
    with pytest.raises(BadInput, match="hook_mlp_out, which in gemma2 comes after a second norm"):
        load(save_set(tmp_path, 4, feature_output_hook="hook_mlp_out"), "gemma2")
    assert len(load(save_set(tmp_path, 4), "gemma2").layers) == 4


@pytest.mark.parametrize(
    ("spec", "trained_on", "notes"),
    [
        ("org/tiny", "org/tiny", 0),
        ("Org/Tiny", "tiny", 0),
        ("org/tiny", None, 0),
        ("org/tiny-it", "org/tiny", 1),
        ("/models/tiny", "org/tiny", 0),
        ("/models/tiny/", "org/other", 1),
        ("builtin:smollm2-135m", "HuggingFaceTB/SmolLM2-135M", 0),
        ("builtin:smollm2-135m", "org/other", 1),
    ],
)
def test_given_a_set_for_a_model_of_another_name_when_loaded_then_a_note_says_both(
    tmp_path: Path, spec: str, trained_on: str | None, notes: int
) -> None:
    model = LanguageModel(tiny_hf("llama"), tiny_tokenizer(), spec=spec, revision="0")
    held = load_transcoder_set(str(save_set(tmp_path, model_name=trained_on)), model)
    assert len(held.notes) == notes
    assert all(f"trained on {trained_on}, the project's model is {spec}" in note for note in held.only([0]).notes)


def without(name: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).unlink()


def config(**changes: Any) -> Callable[[Path], object]:
    return lambda directory: save_config(directory, **changes)


def written(text: str | bytes) -> Callable[[Path], object]:
    content = text.encode() if isinstance(text, str) else text
    return lambda directory: (directory / "config.yaml").write_bytes(content)


def weights(layer: int = 1, **changes: torch.Tensor | None) -> Callable[[Path], object]:
    """Change or remove tensors of a layer's file; `threshold` is short for the long name."""

    def change(directory: Path) -> None:
        file = directory / f"layer_{layer}.safetensors"
        named = {THRESHOLD if name == "threshold" else name: each for name, each in changes.items()}
        held = load_file(file) | named
        save_file({name: each for name, each in held.items() if each is not None}, file)

    return change


def only_pickles(directory: Path) -> None:
    for layer in range(3):
        (directory / f"layer_{layer}.safetensors").unlink()
        (directory / f"layer_{layer}.pt").write_bytes(pickle.dumps({}))


def all_layers(d: int) -> Callable[[Path], object]:
    return lambda directory: save_set(directory, d=d)


BOMB = "a: &a [" + "x," * 9 + "]\n" + "".join(f"b{i}: &b{i} [" + "*a," * 9 + "]\n" for i in range(9))
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (without("config.yaml"), r"config\.yaml cannot be read"),
    "not yaml": (written("a: [1"), r"config\.yaml is not readable YAML"),
    "not text": (written(b"\xff\xfe\x00"), r"config\.yaml is not readable YAML"),
    "python in yaml": (written("!!python/object/apply:os.system [id]"), r"config\.yaml is not readable YAML"),
    "deep yaml": (written("[" * 5000), r"config\.yaml is not readable YAML"),
    "aliases": (written(BOMB), "describes a None, not a transcoder_set"),
    "huge yaml": (written("#" * 2_000_000), "too large"),
    "a word": (written("hello"), "holds no settings"),
    "cross-layer": (
        config(model_kind="cross_layer_transcoder"),
        "describes a cross_layer_transcoder, not a transcoder_set; .*no other kind is supported",
    ),
    "reads the residual stream": (
        config(feature_input_hook="hook_resid_mid"),
        r"reads at hook_resid_mid; only .* mlp\.hook_in",
    ),
    "reads before the gain": (config(feature_input_hook="ln2.hook_normalized"), r"reads at ln2\.hook_normalized"),
    "reads nowhere": (config(feature_input_hook=None), "reads at None"),
    "writes after the block": (config(feature_output_hook="hook_resid_post"), "writes at hook_resid_post"),
    "unknown activation": (config(activation="gelu"), "activation 'gelu'; the supported ones are relu, topk, jumprelu"),
    "topk without k": (config(activation="topk"), "topk and its k is None; .*k: 32"),
    "topk with k 0": (config(activation="topk", k=0), "its k is 0"),
    "topk with k true": (config(activation="topk", k=True), "its k is True"),
    "more than all": (config(activation="topk", k=41), "keeps the 41 largest of 40 features"),
    "k alone": (config(k=8), "a k and no activation"),
    "jumprelu without threshold": (config(activation="jumprelu"), r"layer_0\.safetensors has no activation_function"),
    "relu with threshold": (
        lambda directory: (config(activation="relu")(directory), weights(threshold=torch.ones(40))(directory)),
        r"activation is relu and .*layer_1\.safetensors holds activation_function\.threshold",
    ),
    "list of maps": (config(transcoders=[{"layer": 0}]), "transcoders: in .* is no list of files"),
    "empty list": (config(transcoders=[]), "transcoders: in .* is no list of files"),
    "short list": (config(transcoders=["layer_0.safetensors"]), "has 1 layers, the model has 3"),
    "listed but not there": (
        config(transcoders=["layer_0.safetensors", "gone.safetensors", "layer_2.safetensors"]),
        r"lists gone\.safetensors and there is no .*gone\.safetensors",
    ),
    "listed npz": (
        config(transcoders=[f"hf://google/gemma-scope/layer_{i}/params.npz" for i in range(3)]),
        rf"params\.npz, which is no safetensors file.*{CONVERT}",
    ),
    "listed nothing": (config(transcoders=["hf://org", "a", "b"]), "hf://org, which names no file"),
    "no files": (lambda d: [without(f"layer_{i}.safetensors")(d) for i in range(3)], r"holds no layer_0\.safetensors"),
    "pickles": (only_pickles, rf"layer_0\.pt, which is no safetensors file and could run code; .*{CONVERT}"),
    "first missing": (without("layer_0.safetensors"), r"holds no layer_0\.safetensors"),
    "middle missing": (without("layer_1.safetensors"), r"holds no layer_1\.safetensors"),
    "last missing": (without("layer_2.safetensors"), r"has 2 layers, the model has 3: no layer_2\.safetensors"),
    "too many": (lambda d: save_set(d, 5), "has 5 layers, the model has 3; use a set that was trained on"),
    "too wide": (all_layers(48), r"W_enc in .*layer_0\.safetensors reads d_model 48, the model has 32"),
    "transposed": (weights(W_enc=torch.zeros(32, 40)), r"W_enc in .* is \[32, 40\]; it has to be \[n_features, 32\]"),
    "three axes": (weights(W_enc=torch.zeros(40, 3, 32)), r"W_enc in .* is \[40, 3, 32\]"),
    "decoder of a cross-layer set": (weights(W_dec=torch.zeros(40, 3, 32)), r"W_dec in .* must be \[40, 32\]"),
    "bias of another width": (weights(b_enc=torch.zeros(39)), r"b_enc in .* is \[39\] and must be \[40\]"),
    "skip of another width": (weights(W_skip=torch.zeros(40, 32)), r"W_skip in .* must be \[32, 32\]"),
    "threshold of another width": (weights(threshold=torch.ones(7)), r"threshold in .* is \[7\] and must be \[40\]"),
    "threshold table": (weights(threshold=torch.ones(1, 40)), r"threshold in .* is \[1, 40\]"),
    "no decoder": (weights(W_dec=None, b_dec=None), r"layer_1\.safetensors has no W_dec, b_dec"),
    "unknown tensor": (weights(input_mean=torch.zeros(32)), "holds input_mean, which is not part of the format"),
    "integers": (weights(W_enc=torch.zeros(40, 32, dtype=torch.int8)), "W_enc in .* is I8; the supported types are"),
    "nan bias": (weights(b_enc=torch.full((40,), float("nan"))), "b_enc in .* holds NaN or infinity"),
    "infinite threshold": (weights(threshold=torch.full((40,), float("inf"))), "threshold in .* holds NaN or infinity"),
    "truncated": (
        lambda d: os.truncate(d / "layer_1.safetensors", 3000),
        r"layer_1\.safetensors is not a readable safetensors file",
    ),
    "empty file": (lambda d: os.truncate(d / "layer_1.safetensors", 0), r"layer_1\.safetensors (is not|cannot)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_given_a_faulty_set_when_loaded_then_one_line_names_the_fault_and_the_mend(tmp_path: Path, fault: str) -> None:
    spoil, words = FAULTS[fault]
    spoil(save_set(tmp_path / "set"))
    with pytest.raises(BadInput, match=words) as caught:
        load(tmp_path / "set")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert caught.value.mend


def test_given_a_place_that_is_none_when_loaded_then_the_forms_are_named(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"")
    with pytest.raises(BadInput, match="is no config of a transcoder set"):
        load(tmp_path / "file.bin")
    for spec in ("/no/where", "./org/name", "~/sets", "word", "org/name/config.yaml", "org/../name", "a b/c", "org/n@"):
        with pytest.raises(BadInput, match=r"no transcoder set at .*; give a directory, a config\.yaml or"):
            load(spec)


def test_given_no_name_at_all_when_loaded_then_the_working_directory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_set(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"transcoder: names no transcoder set; give a directory, a config\.yaml or"):
        load("")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("org/repo", HubPlace("org/repo", "", None)),
        ("org/repo@v1", HubPlace("org/repo", "", "v1")),
        ("org/repo/a/b", HubPlace("org/repo", "a/b", None)),
        ("org/repo/a/@refs/pr/1", HubPlace("org/repo", "a", "refs/pr/1")),
        ("org/repo@v1/a", HubPlace("org/repo", "a", "v1")),
        ("hf://org/repo/a.safetensors?revision=v1", HubPlace("org/repo", "a.safetensors", "v1")),
        ("hf://org/repo/a.safetensors", HubPlace("org/repo", "a.safetensors", None)),
        ("org", None),
        ("org/repo/../a", None),
    ],
)
def test_given_a_name_on_the_hub_when_parsed_then_repository_path_and_revision_are_told_apart(
    text: str, place: HubPlace | None
) -> None:
    assert HubPlace.parse(text) == place
    assert place is None or HubPlace.parse(str(place)) == place


def test_given_a_file_that_cannot_be_read_when_loaded_then_damaged_names_it(tmp_path: Path) -> None:
    file = save_set(tmp_path) / "layer_2.safetensors"
    file.unlink()
    file.mkdir()
    with pytest.raises(Damaged, match=r"layer_2\.safetensors"):
        load(tmp_path)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["model_name"] == "org/tiny"
