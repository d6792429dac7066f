"""Timed interventions by the workbench, all in one call, as a process of its own: prints one JSON line.

    python -m benchmarks.intervene_ours EDITS.json FREEZE [BATCH]

The same input and output as `benchmarks.peer.intervene`. Counted is everything from the prompt's tokens on, also what
the edits share; loading is not, and one edit is measured first.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.attribution_inputs import embedded_model, transcoder_directory
from benchmarks.process_cost import measured
from tasks.circuits.targets import LogitTarget
from tasks.dictionaries.transcoder_files import load_transcoder_set
from tasks.interventions.edits import Edits
from tasks.interventions.intervene import measure_targets
from tasks.interventions.regime import Freeze

BATCH = 32


def main(edits: Path, freeze: Freeze, batch: int) -> None:
    """Measure once."""
    torch.set_num_threads(1)
    model, _ = embedded_model()
    dictionaries = load_transcoder_set(str(transcoder_directory(model)), model)
    given = json.loads(edits.read_text())
    tokens = given["tokens"]
    targets = [LogitTarget(token, len(tokens) - 1, 1.0) for token in given["targets"]]
    rows = [_setting(*edit) for edit in given["edits"]]

    def values(some: list[Edits]) -> list[list[float]]:
        found = measure_targets(model, tokens, dictionaries, some, targets, batch=batch, freeze=freeze)
        result: list[list[float]] = found.tolist()
        return result

    values(rows[:1])
    with measured() as cost:
        edited = values(rows)
    unmodified = model.logits(model.token_tensor(tokens))
    baseline = [float(target.value(unmodified)[0]) for target in targets]
    print(json.dumps(asdict(cost) | {"baseline": baseline, "edited": edited}))


def _setting(layer: int, position: int, feature: int, value: float) -> Edits:
    row, at, place, index = (torch.tensor([each]) for each in (0, layer, position, feature))
    return Edits(row, at, place, index, torch.zeros(1), torch.tensor([float(value)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Freeze(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else BATCH)
