"""Timed interventions by circuit-tracer 0.5.0, one at a time, as a process of its own: prints one JSON line.

    python -m benchmarks.peer.intervene MODEL TRANSCODERS EDITS.json FREEZE RETURN_ACTIVATIONS

EDITS.json holds `tokens`, `edits` (layer, position, feature, value) and `targets` (token ids). Runs in the peer's
environment. Loading is not counted; one edit is measured first. Printed beside the cost: each target's logit against
the mean logit at the last position, without an edit and with each.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.peer.replacement_model import load
from benchmarks.process_cost import measured


def main(model: Path, transcoders: Path, edits: Path, freeze: str, activations: bool) -> None:
    """Measure once."""
    torch.set_num_threads(1)
    replacement, given = load(model, transcoders), json.loads(edits.read_text())
    tokens, targets = torch.tensor(given["tokens"]), given["targets"]
    layers = range(replacement.cfg.n_layers) if freeze == "direct" else None

    def values(edit: list[float] | None) -> list[float]:
        if edit is None:
            logits = replacement(tokens)
        else:
            logits, _ = replacement.feature_intervention(
                tokens,
                [tuple(edit)],
                constrained_layers=layers,
                freeze_attention=freeze != "none",
                return_activations=activations,
            )
        last = logits[0, -1]
        result: list[float] = (last[targets] - last.mean()).tolist()
        return result

    with torch.no_grad():
        values(given["edits"][0])
        with measured() as cost:
            edited = [values(edit) for edit in given["edits"]]
        print(json.dumps(asdict(cost) | {"baseline": values(None), "edited": edited}))


if __name__ == "__main__":
    _, where, features, chosen, frozen, returned = sys.argv
    main(Path(where), Path(features), Path(chosen), frozen, returned == "activations")
