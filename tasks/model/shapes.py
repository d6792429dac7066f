"""Shapes of models as data: what their parameters, memory and arithmetic follow from, without their weights.

Sources of the known ones: the config.json that each model is published with.
"""

from dataclasses import dataclass

_FOUR_NORMS = ("gemma2", "gemma3_text")
_HEAD_NORMS = ("qwen3", "gemma3_text")


@dataclass(frozen=True)
class ModelShape:
    """A pre-norm decoder with rotary attention (grouped queries) and a gated MLP, of a supported family."""

    family: str
    """transformers' `model_type`."""
    n_layers: int
    d_model: int
    d_mlp: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    tied: bool
    """Whether the unembedding is the embedding."""
    qkv_bias: bool = False
    output_bias: bool = False
    """Of the attention's output projection."""
    mlp_bias: bool = False

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer that every token is multiplied with."""
        queries, keys = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        return self.d_model * (2 * queries + 2 * keys) + 3 * self.d_model * self.d_mlp

    @property
    def layer_parameters(self) -> int:
        """All weights of one layer: matrices, biases, norms."""
        heads = (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
        biases = self.qkv_bias * heads + self.output_bias * self.d_model
        biases += self.mlp_bias * (2 * self.d_mlp + self.d_model)
        norms = (4 if self.family in _FOUR_NORMS else 2) * self.d_model
        norms += 2 * self.head_dim if self.family in _HEAD_NORMS else 0
        return self.layer_matrices + biases + norms

    @property
    def parameters(self) -> int:
        """All weights of the model, a tied embedding counted once."""
        embeddings = self.vocab_size * self.d_model * (1 if self.tied else 2)
        return self.n_layers * self.layer_parameters + embeddings + self.d_model

    def forward_flops(self, context_length: int, n_layers: int | None = None) -> int:
        """Floating-point operations a token through the first layers (all if left out), without the unembedding.

        A multiply-add is two. A token attends to half of `context_length` on average: q·k and the sum of values take
        2 · 2 · heads · head_dim for each position.
        """
        attention = 4 * self.n_heads * self.head_dim * ((context_length + 1) // 2)
        return (self.n_layers if n_layers is None else n_layers) * (2 * self.layer_matrices + attention)

    @property
    def logit_flops(self) -> int:
        """Operations a token of the unembedding."""
        return 2 * self.vocab_size * self.d_model


def _qwen3(n_layers: int, d_model: int, d_mlp: int, n_heads: int, tied: bool) -> ModelShape:
    return ModelShape("qwen3", n_layers, d_model, d_mlp, n_heads, 8, 128, 151_936, tied)


SHAPES: dict[str, ModelShape] = {
    "builtin:smollm2-135m": ModelShape("llama", 30, 576, 1536, 9, 3, 64, 49_152, tied=True),
    "Qwen/Qwen3-0.6B": _qwen3(28, 1024, 3072, 16, tied=True),
    "Qwen/Qwen3-1.7B": _qwen3(28, 2048, 6144, 16, tied=True),
    "Qwen/Qwen3-4B": _qwen3(36, 2560, 9728, 32, tied=True),
    "Qwen/Qwen3-4B-Instruct-2507": _qwen3(36, 2560, 9728, 32, tied=True),
    "Qwen/Qwen3-8B": _qwen3(36, 4096, 12_288, 32, tied=False),
    "google/gemma-2-2b": ModelShape("gemma2", 26, 2304, 9216, 8, 4, 256, 256_000, tied=True),
    "meta-llama/Llama-3.2-1B": ModelShape("llama", 16, 2048, 8192, 32, 8, 64, 128_256, tied=True),
    "meta-llama/Llama-3.1-8B": ModelShape("llama", 32, 4096, 14_336, 32, 8, 128, 128_256, tied=False),
}
"""Known shapes by hub id."""
