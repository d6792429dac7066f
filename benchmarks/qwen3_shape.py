"""A random-weight model of exactly Qwen3-4B's shape traces a 16-token prompt: how much memory, how long.

    python -m benchmarks.qwen3_shape            both dictionaries, each in a process of its own
    python -m benchmarks.qwen3_shape neurons    one of them
    python -m benchmarks.qwen3_shape neurons share      without the live effects of edges, a backward pass a node

36 layers, d 2560, m 9728, 32 heads over 8 key-value heads of 128, vocabulary 151 936, tied, bfloat16: 8 GB of weights.
The traces are whole `trace` tasks with `MAX_NODES` rows and otherwise their defaults. The weights are random, so the
graphs mean nothing; only their cost does. Needs 20 GB of memory, and 6 GB of disk for the set of SAEs, which goes to a
temporary directory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.initialization import no_init_weights

from store.project import Project
from tasks.context import Context
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.execute import execute
from tasks.model.language_model import LanguageModel
from tasks.model.sources import describe_model
from tasks.trace import Params

SHAPE: dict[str, Any] = {
    "num_hidden_layers": 36, "hidden_size": 2560, "intermediate_size": 9728, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True,
    "max_position_embeddings": 40_960, "rope_theta": 1_000_000.0, "bos_token_id": None, "eos_token_id": 1,
    "pad_token_id": 0,
}  # fmt: skip
PROMPT = " ".join(f"w{i}" for i in range(100, 116))
DICTIONARIES = ("neurons", "saes")
SAE_LAYERS = (9, 18, 24, 30)
SAE_FEATURES, SAE_K = 16_384, 32
MAX_NODES = {"neurons": 1024, "saes": 256}
"""Rows: through SAEs on four layers, each row passes 32 linearised MLPs, about two CPU-minutes a hundred rows."""
BAR_BYTES = 20e9


def random_model() -> LanguageModel:
    """The model in bfloat16: matrices small enough that activations stay finite, norms of one."""
    config = AutoConfig.for_model("qwen3", **SHAPE)
    with no_init_weights():
        hf = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                for rows in parameter.split(4096):
                    rows.copy_(torch.randn(rows.shape, generator=generator) * rows.shape[1] ** -0.5)
    return LanguageModel(hf, _tokenizer(), spec="random:qwen3-4b-shape", revision="seed-0")


def _tokenizer() -> PreTrainedTokenizerFast:
    """Words w2 … w151935 with their numbers as ids."""
    vocabulary = {"<pad>": 0, "<eos>": 1} | {f"w{i}": i for i in range(2, SHAPE["vocab_size"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<eos>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


def add_saes(project: Project) -> None:
    """A random TopK SAE for each of `SAE_LAYERS`, as a training would leave it."""
    generator = torch.Generator().manual_seed(1)
    m = SHAPE["intermediate_size"]
    for layer in SAE_LAYERS:
        encoder = torch.randn(SAE_FEATURES, m, generator=generator) * m**-0.5
        sae = SparseAutoencoder(
            layer, encoder, torch.zeros(SAE_FEATURES), encoder.clone(), torch.zeros(m), SAE_K, SAE_FEATURES
        )
        stored = project.files.write("weights", f"saes-L{layer}.safetensors", sae.save)
        job = {"kind": "train", "params": "{}", "params_hash": f"saes{layer}", "state": "succeeded", "created_at": ""}
        with project.transaction():
            row = {
                "job_id": project.db.table("job").insert(job).last_pk, "name": "saes", "kind": "sae", "layer": layer,
                "n_features": SAE_FEATURES, "objective": "topk", "file_id": project.record_file(stored),
                "metrics": "{}", "config": sae.config(),
            }  # fmt: skip
            project.db.table("dictionary").insert(row)


def measure(dictionary: str, edge_effects: bool = True) -> dict[str, Any]:
    """One trace in this process: seconds of work, and the largest resident set from the process's first byte on."""
    with tempfile.TemporaryDirectory() as directory:
        model = random_model()
        with Project.create(Path(directory) / "project", describe_model(model, "cpu", "bfloat16"), "bench") as project:
            if dictionary == "saes":
                add_saes(project)
            started, cpu = time.monotonic(), time.process_time()
            params = Params(
                prompt=PROMPT, dictionary=dictionary, max_nodes=MAX_NODES[dictionary], edge_effects=edge_effects
            )
            document = execute("trace", params, Context(project, _model=model))
    names = ("active_features", "attributed_features", "kept_nodes", "kept_edges", "closing_error")
    return {
        "dictionary": dictionary,
        "edge_effects": edge_effects,
        "tokens": len(document["tokens"]),
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        **{name: document[name] for name in names},
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], sys.argv[2:] != ["share"])))
        raise SystemExit
    for name in DICTIONARIES:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.qwen3_shape", name], check=True, stdout=subprocess.PIPE
        )
        result = json.loads(done.stdout)
        verdict = "inside" if result["peak_bytes"] <= BAR_BYTES else "OVER"
        print(json.dumps(result), f"{result['peak_bytes'] / 1e9:.1f} GB, {verdict} {BAR_BYTES / 1e9:.0f} GB", sep="\n")
