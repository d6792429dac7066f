"""GGUF files become the same model in safetensors."""

from pathlib import Path

import gguf
import pytest
import torch
from torch import Tensor

from store.errors import BadInput, Damaged
from tasks.model.sources import load_model
from tests.tiny import SPECIAL, tiny_hf

_HEADS = {"attn_q": 4, "attn_k": 2}


def interleave(weight: Tensor, n_heads: int) -> Tensor:
    """GGUF pairs the rotary dimensions (0, 1), (2, 3), …; transformers pairs the halves."""
    half = weight.shape[0] // n_heads // 2
    return weight.view(n_heads, 2, half, -1).transpose(1, 2).reshape(weight.shape)


def write_llama(path: Path, architecture: str = "llama") -> Path:
    """The tiny llama of the tests as a float32 GGUF, written with the format's own library."""
    model = tiny_hf("llama")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(3)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(99)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*(f"w{i}" for i in range(94)), "w", "9", *SPECIAL])
    writer.add_token_merges(["w 9"])
    writer.add_bos_token_id(97)
    writer.add_eos_token_id(97)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3)
    for name, tensor in model.state_dict().items():
        mapped = names.get_name(name, try_suffixes=(".weight",))
        assert mapped is not None
        kind = mapped.split(".")[-2]
        value = interleave(tensor, _HEADS[kind]) if kind in _HEADS else tensor
        writer.add_tensor(mapped, value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_given_a_gguf_file_when_loaded_then_its_logits_are_those_of_the_model_it_was_made_from(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_llama(tmp_path / "tiny.gguf")
    model = load_model(str(file), "cpu")
    tokens = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    with torch.no_grad():
        expected = tiny_hf("llama")(input_ids=tokens).logits
    torch.testing.assert_close(model.logits(tokens), expected, rtol=0, atol=1e-5)
    assert model.spec == str(file)
    assert capfd.readouterr().err == ""
    renamed = file.rename(tmp_path / "renamed.gguf")
    assert load_model(str(renamed), "cpu").revision == model.revision
    assert len(list((tmp_path / "cache" / "workbench" / "gguf").glob("*[!k]"))) == 1


def test_given_a_damaged_gguf_when_loaded_then_it_is_named_and_nothing_is_cached(tmp_path: Path) -> None:
    file = write_llama(tmp_path / "tiny.gguf")
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"GGUF" + bytes(64), b"PK" + content):
        file.write_bytes(damaged)
        with pytest.raises(Damaged, match=r"tiny\.gguf"):
            load_model(str(file), "cpu")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_given_a_gguf_of_an_unknown_family_when_loaded_then_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="command-r"):
        load_model(str(write_llama(tmp_path / "tiny.gguf", "command-r")), "cpu")
