"""One timed attribution by the workbench, as a process of its own: prints one JSON line.

    python -m benchmarks.attribution_ours ROWS REFRESH [DUMP]

Everything from the prompt's text to the attributed graph, without loading; a small graph is attributed first.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.attribution_inputs import PROMPT, embedded_model, transcoder_directory
from benchmarks.process_cost import measured
from tasks.circuits.attribution import Attribution, attribute
from tasks.circuits.frozen import freeze
from tasks.circuits.linearise import Rule
from tasks.circuits.nodes import find_sources
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import salient_logits
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.transcoder_files import load_transcoder_set
from tasks.model.language_model import LanguageModel
from tasks.trace import Params

MAX_LOGITS, LOGIT_PROBABILITY = 10, 0.95
BLOCK = int(Params.model_fields["block"].default)
ALL = 10**9


def attributed(model: LanguageModel, dictionaries: DictionarySet, rows: int, refresh: int) -> Attribution:
    """The stages of `workbench trace` up to the attributed graph."""
    frozen = freeze(model, model.tokenize(PROMPT, special_start=True))
    last = frozen.n_positions - 1
    probabilities = model.capped(frozen.logits_at([last])[0]).softmax(-1)
    targets = salient_logits(probabilities, last, MAX_LOGITS, LOGIT_PROBABILITY)
    sweep = Sweep(model, frozen, dictionaries, find_sources(model, frozen, dictionaries), Rule.RAY)
    return attribute(sweep, targets, max_nodes=rows, refresh=refresh, block=BLOCK)


def dump(graph: Attribution, path: Path) -> None:
    """The graph as arrays, for comparing with the peer's."""
    adjacency = torch.zeros(graph.n_nodes, graph.n_nodes)
    adjacency[graph.target.long(), graph.source.long()] = graph.share
    save_file({"adjacency": adjacency, "selected": graph.rows_of_active.contiguous()}, path)


def main(rows: int, refresh: int, path: Path | None) -> None:
    """Measure once."""
    torch.set_num_threads(1)
    model, _ = embedded_model()
    dictionaries = load_transcoder_set(str(transcoder_directory(model)), model)
    attributed(model, dictionaries, 8, 8)
    with measured() as cost:
        graph = attributed(model, dictionaries, rows or ALL, refresh)
    if path is not None:
        dump(graph, path)
    print(json.dumps(asdict(cost) | {"rows": len(graph.features), "active": graph.n_active}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
