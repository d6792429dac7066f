"""Where each model family keeps its parts. Families differ here, as data, and nowhere else (DESIGN §3).

All supported families are pre-norm decoders with RMS norms, rotary attention and a gated MLP:
x += N'(attention(N(x))); x += N'(W_down(act(W_gate N(x)) * (W_up N(x)))), where N' is the identity but in Gemma.
"""

from dataclasses import dataclass

from torch import nn

from store.errors import BadInput


@dataclass(frozen=True)
class Architecture:
    """One family's names and conventions."""

    model_type: str
    """transformers' `config.model_type`."""
    mlp_norm: str
    """Attribute of a decoder layer: the norm before the MLP."""
    attention_output_norm: str | None = None
    """The norm on the attention's output before it joins the residual stream (sandwich norm), if any."""
    mlp_output_norm: str | None = None
    """The norm on the MLP's output before it joins the residual stream (sandwich norm), if any."""
    norm_weight_offset: float = 0.0
    """A norm multiplies by (offset + weight)."""

    def layer(self, block: nn.Module) -> "LayerModules":
        """The modules of one decoder layer under their common names."""
        return LayerModules(
            attention_norm=block.get_submodule("input_layernorm"),
            attention=block.get_submodule("self_attn"),
            attention_output_norm=_optional(block, self.attention_output_norm),
            mlp_norm=block.get_submodule(self.mlp_norm),
            mlp=block.get_submodule("mlp"),
            mlp_output_norm=_optional(block, self.mlp_output_norm),
        )


@dataclass(frozen=True)
class LayerModules:
    """One decoder layer, under names that all families share."""

    attention_norm: nn.Module
    attention: nn.Module
    attention_output_norm: nn.Module | None
    mlp_norm: nn.Module
    mlp: nn.Module
    mlp_output_norm: nn.Module | None

    @property
    def down(self) -> nn.Linear:
        """`down_proj`: its input is the MLP hidden h."""
        return _linear(self.mlp, "down_proj")

    @property
    def gate(self) -> nn.Linear:
        """`gate_proj`: u -> g."""
        return _linear(self.mlp, "gate_proj")

    @property
    def up(self) -> nn.Linear:
        """`up_proj`: u -> p."""
        return _linear(self.mlp, "up_proj")

    @property
    def query(self) -> nn.Linear:
        """`q_proj`."""
        return _linear(self.attention, "q_proj")

    @property
    def key(self) -> nn.Linear:
        """`k_proj`."""
        return _linear(self.attention, "k_proj")

    @property
    def query_norm(self) -> nn.Module | None:
        """The norm on each head's queries, where the family has one."""
        return getattr(self.attention, "q_norm", None)

    @property
    def key_norm(self) -> nn.Module | None:
        """The norm on each head's keys, where the family has one."""
        return getattr(self.attention, "k_norm", None)

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return int(self.attention.head_dim)  # type: ignore[arg-type]

    @property
    def attention_scaling(self) -> float:
        """What a query-key product is multiplied by."""
        return float(self.attention.scaling)  # type: ignore[arg-type]

    @property
    def value(self) -> nn.Linear:
        """`v_proj`."""
        return _linear(self.attention, "v_proj")

    @property
    def output(self) -> nn.Linear:
        """`o_proj`."""
        return _linear(self.attention, "o_proj")


def _linear(parent: nn.Module, name: str) -> nn.Linear:
    module = parent.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def _optional(block: nn.Module, name: str | None) -> nn.Module | None:
    return None if name is None else block.get_submodule(name)


_GEMMA_NORMS = {
    "mlp_norm": "pre_feedforward_layernorm",
    "attention_output_norm": "post_attention_layernorm",
    "mlp_output_norm": "post_feedforward_layernorm",
}

ARCHITECTURES: dict[str, Architecture] = {
    architecture.model_type: architecture
    for architecture in (
        Architecture("llama", mlp_norm="post_attention_layernorm"),
        Architecture("mistral", mlp_norm="post_attention_layernorm"),
        Architecture("qwen2", mlp_norm="post_attention_layernorm"),
        Architecture("qwen3", mlp_norm="post_attention_layernorm"),
        Architecture("gemma2", norm_weight_offset=1.0, **_GEMMA_NORMS),
        Architecture("gemma3_text", norm_weight_offset=1.0, **_GEMMA_NORMS),
    )
}


def architecture_of(model_type: str) -> Architecture:
    """The family's entry; an unsupported one is refused by name."""
    if model_type not in ARCHITECTURES:
        raise BadInput(
            f"models of the family {model_type!r} are not supported",
            f"use one of {', '.join(sorted(ARCHITECTURES))}",
        )
    return ARCHITECTURES[model_type]
