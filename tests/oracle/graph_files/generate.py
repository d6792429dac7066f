"""How `circuit_tracer.json` was made: circuit-tracer 0.5.0's export of its own graph. Runs in its environment.

    ~/.cache/workbench/peers/circuit-tracer-0.5.0/bin/python tests/oracle/graph_files/generate.py ORACLE OUT

ORACLE holds `model` and `transcoders_relu` of a tiny Llama; OUT/tiny.json is the file.
"""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from circuit_tracer.attribution.attribute import attribute

from benchmarks.peer.replacement_model import load

PROMPT = "w3 w14 w15 w9 w26 w5 w35"

if __name__ == "__main__":
    oracle, out = map(Path, sys.argv[1:3])
    model = load(oracle / "model", oracle / "transcoders_relu", "transformerlens")
    graph = attribute(PROMPT, model, max_n_logits=10, desired_logit_prob=0.95, batch_size=16)
    files: Any = importlib.import_module("circuit_tracer.utils.create_graph_files")
    files.AutoTokenizer = SimpleNamespace(from_pretrained=lambda name: model.tokenizer)
    files.create_graph_files(graph, "tiny", str(out), scan="tiny-relu")
