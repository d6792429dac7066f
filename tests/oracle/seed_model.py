"""The seed's forward pass (seed §3-§7, §11) written out in plain torch, float64, for every supported family.

Nothing of the workbench and no module of transformers is used: only the weights and the numbers of the configuration.
What the MLP of a layer writes may be replaced by any function of its normed input u, and attention patterns and norm
denominators may be held by a stop-gradient: replacement, interventions and linearisation are built on these two.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

Mlp = Callable[[int, Tensor], Tensor]
"""(layer, u) -> what the MLP of that layer writes, before a sandwich norm."""


class SeedModel:
    """The weights and conventions of one model, and its forward pass."""

    def __init__(self, hf: PreTrainedModel) -> None:
        """Copy the weights of `hf` in float64."""
        self.config = hf.config
        self.weights: dict[str, Tensor] = {name: value.detach().double() for name, value in hf.state_dict().items()}
        self.gemma = hf.config.model_type.startswith("gemma")
        self.n_layers = int(hf.config.num_hidden_layers)
        self.unembedding = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])

    def embed(self, tokens: list[int]) -> Tensor:
        """What the first layer takes, [pos, d]."""
        scale: float = self.config.hidden_size**0.5 if self.gemma else 1.0
        return self.weights["model.embed_tokens.weight"][tokens] * scale

    def logits(self, x: Tensor, mlp: Mlp | None = None, *, frozen: bool = False) -> Tensor:
        """Logits before a soft cap, [pos, vocab], from embeddings; `frozen` stops gradients in patterns and norms."""
        for layer in range(self.n_layers):
            name = f"model.layers.{layer}"
            out = self._attention(layer, self.norm(x, f"{name}.input_layernorm", frozen), frozen)
            x = x + (self.norm(out, f"{name}.post_attention_layernorm", frozen) if self.gemma else out)
            before = "pre_feedforward_layernorm" if self.gemma else "post_attention_layernorm"
            out = (mlp or self.mlp)(layer, self.norm(x, f"{name}.{before}", frozen))
            x = x + (self.norm(out, f"{name}.post_feedforward_layernorm", frozen) if self.gemma else out)
        return self.norm(x, "model.norm", frozen) @ self.unembedding.T

    def capped(self, logits: Tensor) -> Tensor:
        """Logits as the model gives them."""
        cap: float | None = getattr(self.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def norm(self, x: Tensor, name: str, frozen: bool) -> Tensor:
        """RMS norm; Gemma multiplies by one plus the weight."""
        epsilon: float = self.config.rms_norm_eps
        inverse = (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()
        weight = self.weights[f"{name}.weight"] + (1.0 if self.gemma else 0.0)
        return x * (inverse.detach() if frozen else inverse) * weight

    def linear(self, x: Tensor, name: str) -> Tensor:
        """x Wᵀ + b, where there is a b."""
        out = x @ self.weights[f"{name}.weight"].T
        return out + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else out

    def activation(self, gate: Tensor) -> Tensor:
        """SiLU; GELU with tanh in Gemma."""
        if self.gemma:
            return 0.5 * gate * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (gate + 0.044715 * gate**3)))
        return gate * torch.sigmoid(gate)

    def gate_and_up(self, layer: int, u: Tensor) -> tuple[Tensor, Tensor]:
        """g and p."""
        name = f"model.layers.{layer}.mlp"
        return self.linear(u, f"{name}.gate_proj"), self.linear(u, f"{name}.up_proj")

    def hidden(self, layer: int, u: Tensor) -> Tensor:
        """h = act(g) ⊙ p."""
        gate, up = self.gate_and_up(layer, u)
        return self.activation(gate) * up

    def down(self, layer: int, h: Tensor) -> Tensor:
        """W_down h."""
        return self.linear(h, f"model.layers.{layer}.mlp.down_proj")

    def down_weight(self, layer: int) -> Tensor:
        """W_down, [d, m]."""
        return self.weights[f"model.layers.{layer}.mlp.down_proj.weight"]

    def mlp(self, layer: int, u: Tensor) -> Tensor:
        """The unmodified MLP."""
        return self.down(layer, self.hidden(layer, u))

    def pattern(self, layer: int, live: Tensor) -> Tensor:
        """The attention pattern that is used, [head, query, key]: a twin may put another in its place."""
        return live

    def _attention(self, layer: int, x: Tensor, frozen: bool) -> Tensor:
        config, name = self.config, f"model.layers.{layer}.self_attn"
        q, k, v = (
            self.linear(x, f"{name}.{which}_proj").unflatten(-1, (-1, config.head_dim)).transpose(0, 1)
            for which in "qkv"
        )
        if f"{name}.q_norm.weight" in self.weights:
            q, k = self.norm(q, f"{name}.q_norm", frozen), self.norm(k, f"{name}.k_norm", frozen)
        sliding = self._is_sliding(layer)
        q, k = self._rotate(q, sliding), self._rotate(k, sliding)
        group = config.num_attention_heads // config.num_key_value_heads
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        scale = (getattr(config, "query_pre_attn_scalar", None) or config.head_dim) ** -0.5
        scores = q @ k.transpose(1, 2) * scale
        cap: float | None = getattr(config, "attn_logit_softcapping", None)
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        position = torch.arange(len(x))
        distance = position[:, None] - position[None]
        hidden = (distance < 0) | (distance >= (config.sliding_window if sliding else len(x)))
        pattern = self.pattern(layer, scores.masked_fill(hidden, -torch.inf).softmax(-1))
        mixed = (pattern.detach() if frozen else pattern) @ v
        return self.linear(mixed.transpose(0, 1).flatten(1), f"{name}.o_proj")

    def _is_sliding(self, layer: int) -> bool:
        kinds = getattr(self.config, "layer_types", None)
        if kinds is not None:
            return bool(kinds[layer] == "sliding_attention")
        return getattr(self.config, "sliding_window", None) is not None

    def _rotate(self, x: Tensor, sliding: bool) -> Tensor:
        """Rotary embedding of [head, pos, head_dim]: halves are rotated by position · theta^(-2i/head_dim)."""
        rope = self.config.rope_parameters
        rope = rope if "rope_theta" in rope else rope["sliding_attention" if sliding else "full_attention"]
        half = x.shape[-1] // 2
        frequency = rope["rope_theta"] ** (-torch.arange(half, dtype=torch.double) / half)
        angle = torch.arange(x.shape[1], dtype=torch.double)[:, None] * frequency
        first, second = x[..., :half], x[..., half:]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
