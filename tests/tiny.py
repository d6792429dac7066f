"""Tiny random models of the true transformers classes, one a supported family, with a word tokenizer.

The weights are scaled so that nothing is degenerate: attention is neither flat nor one-hot, norm weights differ, gates
are on both sides of zero, soft-caps bite, and the window of sliding attention is shorter than a prompt.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tasks.model.language_model import LanguageModel

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text")
"""Every family that the workbench supports."""
N_WORDS = 96
"""The words are `w0` … `w95`, with the ids 0 … 95."""
SPECIAL = ("<pad>", "<eos>", "<unk>")
"""Their ids follow the words'."""
_SHAPE: dict[str, Any] = {
    "vocab_size": N_WORDS + len(SPECIAL),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": N_WORDS,
    "bos_token_id": None,
    "eos_token_id": N_WORDS + 1,
}
_FAMILY: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 3, "tie_word_embeddings": False},
    "mistral": {"num_hidden_layers": 3, "sliding_window": 4, "tie_word_embeddings": False},
    "qwen2": {"num_hidden_layers": 3, "tie_word_embeddings": True},
    "qwen3": {"num_hidden_layers": 3, "tie_word_embeddings": True},
    "gemma2": {
        "num_hidden_layers": 4,
        "sliding_window": 4,
        "query_pre_attn_scalar": 8,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 4.0,
    },
    "gemma3_text": {
        "num_hidden_layers": 4,
        "sliding_window": 4,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
}


def tiny_hf(family: str, seed: int = 0) -> PreTrainedModel:
    """The unmodified transformers model of a family, float32, seeded, in eval mode."""
    config = AutoConfig.for_model(family, **_SHAPE, **_FAMILY[family])
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.copy_(noise * 0.3 + (0.0 if family.startswith("gemma") else 1.0))
            elif name.endswith("bias"):
                parameter.copy_(noise * 0.3)
            elif "embed" in name:
                parameter.copy_(noise * (1.0 if family in ("llama", "mistral") else 0.25))
            else:
                parameter.copy_(noise * 1.5 * parameter.shape[-1] ** -0.5)
    return model


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Words `w0` … `w95`, split at white space; no BOS."""
    pad, eos, unknown = SPECIAL
    vocabulary = {word: i for i, word in enumerate([*(f"w{i}" for i in range(N_WORDS)), *SPECIAL])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=pad, eos_token=eos, unk_token=unknown)


@cache
def tiny_language_model(family: str) -> LanguageModel:
    """The tiny model of a family, wrapped. One instance a session: do not change it."""
    return LanguageModel(tiny_hf(family), tiny_tokenizer(), spec=f"tiny:{family}", revision="0")


def save_tiny(family: str, directory: Path) -> Path:
    """The tiny model of a family written to `directory`, as `save_pretrained` does."""
    tiny_hf(family).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory
