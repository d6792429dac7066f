"""SAELens' ActivationsStore over given tokens, one layer's h, as a process of its own: prints one JSON line.

    python -m benchmarks.train.peers.saelens_store MODEL TOKENS CONTEXT LAYER THREADS PROMPTS

h is no module's output in a gated MLP, so an identity is put before down_proj and hooked.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from sae_lens.load_model import HookedProxyLM
from sae_lens.training.activations_store import ActivationsStore
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def main(model_directory: Path, tokens_file: Path, context: int, layer: int, threads: int, prompts: int) -> None:
    """Read every token once."""
    torch.set_num_threads(threads)
    tokens = load_file(tokens_file)["tokens"]
    windows = tokens.reshape(-1, context).tolist()
    hf = AutoModelForCausalLM.from_pretrained(model_directory).eval()
    mlp = hf.model.layers[layer].mlp
    mlp.down_proj = torch.nn.Sequential(torch.nn.Identity(), mlp.down_proj)
    name = f"model.layers.{layer}.mlp.down_proj.0"
    tokenizer = SimpleNamespace(bos_token_id=1, eos_token_id=2, sep_token_id=None)
    model = HookedProxyLM(hf, tokenizer, hook_names=[name])
    store = ActivationsStore(
        model=model,
        dataset=Dataset.from_dict({"tokens": windows}),
        streaming=False,
        hook_name=name,
        hook_head_index=None,
        context_size=context,
        d_in=hf.config.intermediate_size,
        n_batches_in_buffer=2,
        total_training_tokens=len(tokens),
        store_batch_size_prompts=prompts,
        train_batch_size_tokens=512,
        prepend_bos=False,
        normalize_activations="none",
        device=torch.device("cpu"),
        dtype="float32",
    )
    read, begun = 0, time.process_time()
    with in_forward(hf) as forward:
        while read < len(tokens):
            read += len(store.get_filtered_llm_batch())
    print(json.dumps({"tokens": read, "cpu_s": time.process_time() - begun, "forward_cpu_s": sum(forward)}))


@contextmanager
def in_forward(model: torch.nn.Module) -> Iterator[list[float]]:
    """Processor seconds of each forward of the model, stopped or not, while the block lasts."""
    spent: list[float] = []
    whole = model.forward

    def timed(*args: Any, **options: Any) -> Any:
        begun = time.process_time()
        try:
            return whole(*args, **options)
        finally:
            spent.append(time.process_time() - begun)

    model.forward = timed
    yield spent
    model.forward = whole


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:7]))
