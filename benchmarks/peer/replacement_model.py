"""A local model and a transcoder set as circuit-tracer 0.5.0's replacement model. Runs in the peer's own environment.

The peer's TransformerLens backend knows published models by name only, so the configuration is made by hand from the
model's own; its conversion of weights is used as it is. Files saved by transformers 5 are read by transformers 4 here.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
import yaml
from circuit_tracer.replacement_model.replacement_model_nnsight import NNSightReplacementModel
from circuit_tracer.replacement_model.replacement_model_transformerlens import TransformerLensReplacementModel
from circuit_tracer.transcoder.activation_functions import TopK
from circuit_tracer.transcoder.single_layer_transcoder import TranscoderSet, load_relu_transcoder
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained import weight_conversions as conversion
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

CONVERSIONS = {
    "llama": conversion.convert_llama_weights,
    "mistral": conversion.convert_mistral_weights,
    "qwen2": conversion.convert_qwen2_weights,
    "qwen3": conversion.convert_qwen3_weights,
    "gemma2": conversion.convert_gemma_weights,
    "gemma3_text": conversion.convert_gemma_weights,
}
"""`model_type` -> the peer's own reading of its weights."""
BACKENDS = ("transformerlens", "nnsight")


def hf_model(directory: Path) -> Any:
    """The transformers model, float32, eager attention."""
    settings = json.loads((directory / "config.json").read_text())
    family = settings.pop("model_type")
    rope = settings.pop("rope_parameters", None)
    if rope is not None and "full_attention" in rope:
        settings["rope_theta"] = rope["full_attention"]["rope_theta"]
        settings["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    elif rope is not None:
        settings["rope_theta"] = rope["rope_theta"]
    settings.pop("dtype", None)
    config = AutoConfig.for_model(family, **settings, attn_implementation="eager")
    config.name_or_path = str(directory)
    return AutoModelForCausalLM.from_pretrained(
        directory, config=config, dtype=torch.float32, attn_implementation="eager"
    )


def tokenizer(directory: Path) -> Any:
    """The model's tokenizer, with the special tokens of its configuration."""
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    special = {name: settings[name] for name in names if settings.get(name) is not None}
    return PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"), **special)


def transcoders(directory: Path) -> TranscoderSet:
    """A per-layer set; TopK, which the peer has but its loader does not read, by the `k` of config.yaml."""
    config = yaml.safe_load((directory / "config.yaml").read_text())
    paths = sorted(directory.glob("layer_*.safetensors"), key=lambda path: int(path.stem.removeprefix("layer_")))
    layers = {
        layer: load_relu_transcoder(
            str(path), layer, torch.device("cpu"), torch.float32, lazy_encoder=False, lazy_decoder=False
        )
        for layer, path in enumerate(paths)
    }
    if config.get("activation") == "topk":
        for layer in layers.values():
            layer.activation_function = TopK(int(config["k"]))
    return TranscoderSet(layers, config["feature_input_hook"], config["feature_output_hook"], config.get("scan"))


def load(model: Path, transcoder_set: Path, backend: str = "transformerlens", n_ctx: int = 64) -> Any:
    """The peer's model of a directory, ready for `attribute`."""
    hf, words = hf_model(model), tokenizer(model)
    if backend == "nnsight":
        replacement = NNSightReplacementModel(hf, tokenizer=words, dispatch=True)
        replacement._hf_config = hf.config
        replacement._configure_replacement_model(transcoders(transcoder_set))
        return replacement
    lens = TransformerLensReplacementModel(_lens_config(hf.config, n_ctx))
    lens.tokenizer = words  # given to the constructor it would be loaded again by its name
    lens.load_and_process_state_dict(
        CONVERSIONS[hf.config.model_type](hf, lens.cfg),
        fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False,
    )  # fmt: skip
    lens.eval()
    if hf.config.model_type == "gemma3_text":
        # Sharing buffers gives local layers the global layers' rotary base: another model than Gemma 3 (0.4 nats here).
        lens._deduplicate_attention_buffers = lambda: None
    lens._configure_replacement_model(transcoders(transcoder_set))
    return lens


def _lens_config(config: Any, n_ctx: int) -> HookedTransformerConfig:
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return HookedTransformerConfig(
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        d_head=d_head,
        n_heads=config.num_attention_heads,
        n_key_value_heads=config.num_key_value_heads,
        d_mlp=config.intermediate_size,
        d_vocab=config.vocab_size,
        n_ctx=n_ctx,
        act_fn=getattr(config, "hidden_activation", None) or config.hidden_act,
        eps=config.rms_norm_eps,
        normalization_type="RMS",
        final_rms=True,
        gated_mlp=True,
        positional_embedding_type="rotary",
        rotary_dim=d_head,
        rotary_adjacent_pairs=False,
        rotary_base=config.rope_theta,
        use_attn_scale=True,
        attn_scale=math.sqrt(getattr(config, "query_pre_attn_scalar", None) or d_head),
        original_architecture=config.architectures[0],
        model_name=config.name_or_path,
        default_prepend_bos=False,
        device="cpu",
        dtype=torch.float32,
        **_special(config),
    )


def _special(config: Any) -> dict[str, Any]:
    """What some families have: QK norms, sandwich norms, soft caps, sliding windows."""
    special: dict[str, Any] = {}
    if config.model_type in ("qwen3", "gemma3_text"):
        special["use_qk_norm"] = True
    if config.model_type.startswith("gemma"):
        special["use_normalization_before_and_after"] = True
    if config.model_type == "gemma3_text":
        special["rotary_base_local"] = config.rope_local_base_freq
    for theirs, name in (("attn_logit_softcapping", "attn_scores"), ("final_logit_softcapping", "output_logits")):
        if getattr(config, theirs, None):
            special[f"{name}_soft_cap"] = getattr(config, theirs)
    types = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    if config.model_type in ("mistral", "gemma2", "gemma3_text") and config.sliding_window:
        special["use_local_attn"] = True
        special["window_size"] = config.sliding_window
        special["attn_types"] = ["local" if each == "sliding_attention" else "global" for each in types]
    return special
