"""Where models come from: what is read, what is refused, and what pins it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from store.errors import BadInput, Damaged, Missing
from store.project import Project
from tasks.model.sources import describe_model, load_model, load_project_model, resolve_device
from tests.tiny import FAMILIES, save_tiny, tiny_hf, tiny_tokenizer

PROMPT = " ".join(f"w{7 * i % 96}" for i in range(1, 11))
MLP_WEIGHT = "model.layers.1.mlp.down_proj.weight"


def unmodified_logits(family: str, tokens: list[int]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = tiny_hf(family)(input_ids=torch.tensor([tokens])).logits
    return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_given_a_saved_model_when_loaded_then_its_logits_are_those_of_the_unmodified_class(
    family: str, tiny_directory: Callable[[str], Path]
) -> None:
    model = load_model(str(tiny_directory(family)), "cpu")
    tokens = model.tokenize(PROMPT)
    assert len(tokens) == 10
    torch.testing.assert_close(
        model.logits(model.token_tensor(tokens)), unmodified_logits(family, tokens), rtol=0, atol=1e-6
    )
    assert model.architecture.model_type == family


@pytest.mark.parametrize("family", FAMILIES)
def test_given_another_seed_when_loaded_then_logits_differ(family: str, tmp_path: Path) -> None:
    tiny_hf(family, seed=1).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = load_model(str(tmp_path), "cpu")
    tokens = model.tokenize(PROMPT)
    assert not torch.allclose(model.logits(model.token_tensor(tokens)), unmodified_logits(family, tokens), atol=0.1)


def test_given_shards_when_loaded_then_they_are_one_model_and_a_lost_shard_is_named(tmp_path: Path) -> None:
    tiny_hf("llama").save_pretrained(tmp_path, max_shard_size="20KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    model = load_model(str(tmp_path), "cpu")
    tokens = model.tokenize(PROMPT)
    assert torch.equal(model.logits(model.token_tensor(tokens)), unmodified_logits("llama", tokens))
    shard = next(iter(tmp_path.glob("model-00002-*.safetensors")))
    shard.unlink()
    with pytest.raises(Damaged, match=shard.name):
        load_model(str(tmp_path), "cpu")


def test_given_a_dtype_when_loaded_then_weights_have_it_and_the_record_keeps_the_words(
    tiny_directory: Callable[[str], Path],
) -> None:
    directory = tiny_directory("qwen3")
    model = load_model(str(directory), "cpu", "bfloat16")
    assert model.dtype == torch.bfloat16
    record = describe_model(model, "auto", "bfloat16")
    assert (record.spec, record.family, record.device, record.dtype) == (str(directory), "qwen3", "auto", "bfloat16")
    assert (record.n_layers, record.d_model, record.d_mlp, record.vocab_size) == (3, 32, 48, 99)


def test_given_a_relative_directory_when_loaded_then_the_spec_is_absolute(
    tiny_directory: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tiny_directory("llama")
    monkeypatch.chdir(directory.parent)
    assert load_model("llama", "cpu").spec == str(directory.resolve())


def test_given_a_project_when_its_weights_change_then_loading_names_the_directory(
    tiny_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    directory = tiny_directory("qwen2")
    record = describe_model(load_model(str(directory), "cpu"), "cpu")
    with Project.create(tmp_path / "project", record, "0") as project:
        assert load_project_model(project).revision == record.revision
        tiny_hf("qwen2", seed=1).save_pretrained(directory)
        with pytest.raises(Damaged, match=str(directory)):
            load_project_model(project)


def test_given_equal_content_elsewhere_when_loaded_then_the_revision_is_the_same(tmp_path: Path) -> None:
    first, second = save_tiny("llama", tmp_path / "a"), save_tiny("llama", tmp_path / "b")
    assert load_model(str(first), "cpu").revision == load_model(str(second), "cpu").revision


@pytest.mark.parametrize(
    "spec", ["nowhere", "/no/where", "./org/name", "weights.gguf", "builtin:other", "no-such-org/no-such-model"]
)
def test_given_no_such_model_when_loaded_then_missing_with_exit_code_3(spec: str) -> None:
    with pytest.raises(Missing) as caught:
        load_model(spec, "cpu")
    assert caught.value.exit_code == 3
    assert spec in str(caught.value)


def test_given_an_unsupported_family_when_loaded_then_refused_by_name_with_the_supported_ones(
    tiny_directory: Callable[[str], Path],
) -> None:
    directory = tiny_directory("llama")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "bloom"}))
    with pytest.raises(BadInput, match=r"'bloom' are not supported; use one of gemma2.*qwen3") as caught:
        load_model(str(directory), "cpu")
    assert caught.value.exit_code == 2


def test_given_pickles_alone_when_loaded_then_refused_with_the_way_to_convert(
    tiny_directory: Callable[[str], Path],
) -> None:
    directory = tiny_directory("llama")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"pickles.*save_pretrained"):
        load_model(str(directory), "cpu")


def test_given_a_malicious_pickle_beside_the_weights_when_loaded_then_it_is_not_opened(
    tiny_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    directory = tiny_directory("llama")
    trap = tmp_path / "executed"
    (directory / "pytorch_model.bin").write_bytes(f"cos\nsystem\n(S'touch {trap}'\ntR.".encode())
    assert load_model(str(directory), "cpu").n_layers == 3
    assert not trap.exists()


def test_given_code_beside_the_weights_when_loaded_then_it_is_not_run(
    tiny_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    directory, trap = tiny_directory("llama"), tmp_path / "executed"
    config = json.loads((directory / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "trap.Model", "AutoConfig": "trap.Config"}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "trap.py").write_text(f"open({str(trap)!r}, 'w')\n")
    assert type(load_model(str(directory), "cpu").hf).__name__ == "LlamaForCausalLM"
    assert not trap.exists()


def test_given_damaged_files_when_loaded_then_each_fault_is_named(tiny_directory: Callable[[str], Path]) -> None:
    directory = tiny_directory("llama")
    weights = directory / "model.safetensors"
    whole = {name: value.clone() for name, value in load_file(weights).items()}  # not mapped from the file
    content = weights.read_bytes()

    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(Damaged, match=str(directory)):
        load_model(str(directory), "cpu")

    save_file({name: value for name, value in whole.items() if name != MLP_WEIGHT}, weights, {"format": "pt"})
    with pytest.raises(Damaged, match=f"lacks the weights {MLP_WEIGHT}"):
        load_model(str(directory), "cpu")

    save_file(whole | {MLP_WEIGHT: whole[MLP_WEIGHT].T.contiguous()}, weights, {"format": "pt"})
    with pytest.raises(Damaged, match=r"down_proj.weight of shape \[48, 32\].*\[32, 48\]"):
        load_model(str(directory), "cpu")

    weights.write_bytes(content)
    (directory / "config.json").write_text("{")
    with pytest.raises(Damaged, match=r"config\.json"):
        load_model(str(directory), "cpu")


def test_given_a_file_that_is_no_model_when_loaded_then_bad_input(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadInput, match=r"notes\.txt is not a model"):
        load_model(str(tmp_path / "notes.txt"), "cpu")
    with pytest.raises(Missing, match=r"config\.json"):
        load_model(str(tmp_path), "cpu")


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cpu:1", "cuda:x"])
def test_given_a_device_that_is_not_here_when_resolved_then_those_here_are_named(device: str) -> None:
    with pytest.raises(BadInput, match=r"auto or one of cpu"):
        resolve_device(device)


def test_given_an_unknown_dtype_when_loaded_then_the_known_ones_are_named() -> None:
    with pytest.raises(BadInput, match="float32, bfloat16, float16"):
        load_model("anything", "cpu", "int4")


def test_given_a_model_in_the_hub_cache_when_loaded_offline_then_the_commit_pins_it(tmp_path: Path) -> None:
    """The hub's cache is laid out by hand, and read in a process of its own because its place is fixed at import."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--org--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    save_tiny("gemma2", repository / "snapshots" / commit)
    program = (
        "from tasks.model.sources import load_model\n"
        "m = load_model('org/tiny', 'cpu')\n"
        "print(m.spec, m.revision, m.n_layers, load_model('org/tiny', 'cpu', revision=m.revision).revision)"
    )
    done = run_python(program, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert done.split() == ["org/tiny", commit, "4", commit]
    shutil.rmtree(repository)


def run_python(program: str, **environment: str) -> str:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
