"""SAEDashboard over given tokens and a given SAE, as a process of its own, in its environment: prints one JSON line.

    python -m benchmarks.index.peer MODEL SAE TOKENS LAYER THREADS FEATURES_AT_ONCE

FEATURES_AT_ONCE is its `minibatch_size_features`, 256 if left to it: the model runs once for each. Loading is free.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from sae_dashboard.components_config import (
    ActsHistogramConfig,
    Column,
    FeatureTablesConfig,
    LogitsHistogramConfig,
    LogitsTableConfig,
    SequencesConfig,
)
from sae_dashboard.layout import SaeVisLayoutConfig
from sae_dashboard.sae_vis_data import SaeVisConfig
from sae_dashboard.sae_vis_runner import SaeVisRunner
from sae_lens import SAE, HookedSAETransformer
from safetensors.torch import load_file
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_llama_weights
from transformers import AutoConfig, AutoModelForCausalLM

N_TOP, N_QUANTILES, A_QUANTILE = 20, 5, 2
"""As many examples as this project keeps."""


def hooked_model(directory: Path, n_ctx: int) -> Any:
    """The embedded Llama in TransformerLens, which knows published models by name only."""
    settings = json.loads((directory / "config.json").read_text())
    rope = settings.pop("rope_parameters", None) or {}
    settings["rope_theta"] = rope.get("rope_theta", settings.get("rope_theta", 10_000))
    settings.pop("dtype", None)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    hf = AutoModelForCausalLM.from_pretrained(directory, config=config, dtype=torch.float32)
    d_head = config.hidden_size // config.num_attention_heads
    model = HookedSAETransformer(
        HookedTransformerConfig(
            n_layers=config.num_hidden_layers, d_model=config.hidden_size, d_head=d_head,
            n_heads=config.num_attention_heads, n_key_value_heads=config.num_key_value_heads,
            d_mlp=config.intermediate_size, d_vocab=config.vocab_size, n_ctx=n_ctx, act_fn=config.hidden_act,
            eps=config.rms_norm_eps, normalization_type="RMS", final_rms=True, gated_mlp=True,
            positional_embedding_type="rotary", rotary_dim=d_head, rotary_adjacent_pairs=False,
            rotary_base=config.rope_theta, use_attn_scale=True, attn_scale=math.sqrt(d_head),
            original_architecture="LlamaForCausalLM", model_name="embedded", default_prepend_bos=False,
            device="cpu", dtype=torch.float32,
        )
    )  # fmt: skip
    model.load_and_process_state_dict(
        convert_llama_weights(hf, model.cfg),
        fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False,
    )  # fmt: skip
    return model.eval()


def layout() -> SaeVisLayoutConfig:
    """What a card of ours has too: histogram, promoted tokens, correlated features, examples."""
    sequences = SequencesConfig(
        buffer=None, n_quantiles=N_QUANTILES, top_acts_group_size=N_TOP, quantile_group_size=A_QUANTILE
    )
    return SaeVisLayoutConfig(
        columns=[
            Column(FeatureTablesConfig(n_rows=10)),
            Column(ActsHistogramConfig(n_bins=20), LogitsTableConfig(n_rows=10), LogitsHistogramConfig(n_bins=20)),
            Column(sequences),
        ]
    )


def main(directory: Path, folder: Path, tokens_file: Path, layer: int, threads: int, at_once: int) -> None:
    """Run it over all features."""
    torch.set_num_threads(threads)
    tokens = load_file(tokens_file)["tokens"].long()
    model = hooked_model(directory, tokens.shape[1])
    sae = SAE.load_from_disk(folder)
    settings = SaeVisConfig(
        hook_point=f"blocks.{layer}.mlp.hook_post",
        features=list(range(sae.cfg.d_sae)),
        minibatch_size_features=at_once,
        minibatch_size_tokens=32,
        ignore_positions=[0],
        feature_centric_layout=layout(),
    )
    begun = time.process_time()
    found = SaeVisRunner(settings).run(encoder=sae, model=model, tokens=tokens)
    cpu_s = time.process_time() - begun
    top = {
        feature: [
            [each.original_index, each.qualifying_token_index, max(each.feat_acts, default=0.0)]
            for each in data.sequence_data.seq_group_data[0].seq_data
        ]
        for feature, data in found.feature_data_dict.items()
    }
    print(json.dumps({"cpu_s": cpu_s, "top": top}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:7]))
