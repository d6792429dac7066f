"""Edits of one prompt: this project in a batch against circuit-tracer 0.5.0 one at a time, one thread, processor time.

    python -m benchmarks.intervene [ROUNDS]

Ablations of active features spread evenly over layers and positions, with nothing frozen, attention frozen, and direct
effects alone. The peer runs with its defaults (which also return every activation) and without returning them. Printed
are medians of processor seconds an edit, the range in brackets, ratios peer / ours round by round, and the largest
difference of an effect on the ten most probable tokens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.attribution_inputs import CACHE, PROMPT, embedded_model, transcoder_directory
from tasks.circuits.frozen import freeze
from tasks.circuits.nodes import find_sources
from tasks.dictionaries.transcoder_files import load_transcoder_set
from tasks.interventions.regime import Freeze

ROOT = Path(__file__).parents[1]
ENVIRONMENT = CACHE / "circuit-tracer-0.5.0"
N_EDITS = 192
N_TARGETS = 10
BAR, SAME = 15.0, 1e-4
PEER_MODES = ("activations", "nothing else")
"""What the peer returns beside the logits: its default, and its cheapest."""


@dataclass
class Setting:
    """What is frozen and what the peer returns, with every run of both sides."""

    freeze: Freeze
    returned: str
    peer: list[dict[str, Any]] = field(default_factory=list)
    ours: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Peer / ours, round by round."""
        return [theirs["cpu_s"] / own["cpu_s"] for theirs, own in zip(self.peer, self.ours, strict=True)]

    @property
    def difference(self) -> float:
        """The largest |difference| of an effect (baseline - edited)."""
        return float((_effects(self.peer[-1]) - _effects(self.ours[-1])).abs().max())

    def line(self) -> str:
        """One row of the table."""
        cells = [self.freeze.value, self.returned]
        for side in (self.peer, self.ours):
            cells.append(_spread([run["cpu_s"] / N_EDITS for run in side], 4))
        largest = float(_effects(self.ours[-1]).abs().max())
        return f"| {' | '.join([*cells, _spread(self.ratios, 1), f'{self.difference:.1e}', f'{largest:.2f}'])} |"


def measure(rounds: int) -> list[Setting]:
    """Every setting, `rounds` times, the sides in turn."""
    subprocess.run(["sh", ROOT / "benchmarks/peer/install.sh", ENVIRONMENT], check=True)
    settings = [Setting(each, returned) for each in Freeze for returned in PEER_MODES]
    with tempfile.TemporaryDirectory() as directory:
        edits = Path(directory, "edits.json")
        weights, transcoders = _write_edits(edits)
        for number in range(rounds):
            for setting in settings:
                theirs = [weights, transcoders, edits, setting.freeze, setting.returned]
                setting.peer.append(_run(ENVIRONMENT / "bin/python", "benchmarks.peer.intervene", *theirs))
                setting.ours.append(_run(Path(sys.executable), "benchmarks.intervene_ours", edits, setting.freeze))
                print(f"round {number + 1}", setting.line(), file=sys.stderr)
    return settings


def _write_edits(path: Path) -> tuple[Path, Path]:
    """Choose the edits; the directories of the model and of the transcoders."""
    model, weights = embedded_model()
    transcoders = transcoder_directory(model)
    run = freeze(model, model.tokenize(PROMPT, special_start=True))
    active = find_sources(model, run, load_transcoder_set(str(transcoders), model)).features
    chosen = active.take(torch.linspace(0, len(active) - 1, N_EDITS).long())
    places = zip(chosen.layer.tolist(), chosen.position.tolist(), chosen.index.tolist(), strict=True)
    targets = run.logits_at([run.n_positions - 1])[0].topk(N_TARGETS).indices.tolist()
    given = {"tokens": run.tokens, "edits": [(*place, 0.0) for place in places], "targets": targets}
    path.write_text(json.dumps(given))
    return weights, transcoders


def _effects(run: dict[str, Any]) -> torch.Tensor:
    return torch.tensor(run["baseline"]) - torch.tensor(run["edited"])


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _run(python: Path, module: str, *words: Any) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(python), "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main(rounds: int) -> None:
    """The table and the verdict."""
    settings = measure(rounds)
    print("| frozen | peer returns | peer, CPU-s an edit | ours, CPU-s an edit | ratio | difference | largest effect |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for each in settings:
        print(each.line())
    least = min(median(each.ratios) for each in settings)
    print(f"{N_EDITS} edits; least ratio {least:.1f} (bar {BAR:g}); ", end="")
    print(f"largest difference {max(each.difference for each in settings):.1e} (bar {SAME:g})")
    print("load averages", *(f"{load:.2f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
