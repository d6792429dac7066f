"""This project against circuit-tracer 0.5.0: the same prompt, transcoders and rows, one thread, processor seconds.

    python -m benchmarks.attribution [ROUNDS]

In each round every setting of the peer runs once, each followed by ours with the same rows and the same refresh (the
peer's batch times its update interval), each as a fresh process. Printed are medians, the range in brackets, and ratios
peer / ours pair by pair. `python -m benchmarks.attribution_ours 1024 1024` runs ours alone.
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
from safetensors.torch import load_file

from benchmarks.attribution_inputs import CACHE, PROMPT, embedded_model, transcoder_directory

ROOT = Path(__file__).parents[1]
ENVIRONMENT = CACHE / "circuit-tracer-0.5.0"
UPDATE_INTERVAL = 4
"""The peer's default: batches before it computes influence anew."""
ROWS = 1024
COMMAND_LINE_BATCH, API_BATCH = 256, 512
BATCHES = (32, 64, 128, COMMAND_LINE_BATCH, API_BATCH)
ALL_ROWS_BATCHES = (32, 64, COMMAND_LINE_BATCH)
BARS = {"command line default": 15.0, "best batch": 7.0, "all rows": 4.0, "memory, all settings": 2.0}


@dataclass
class Setting:
    """Rows (0 is all) and the peer's batch, with what each run of both sides cost."""

    rows: int
    batch: int
    peer: list[dict[str, float]] = field(default_factory=list)
    ours: list[dict[str, float]] = field(default_factory=list)

    def ratios(self, figure: str) -> list[float]:
        """Peer / ours of each pair."""
        return [theirs[figure] / own[figure] for theirs, own in zip(self.peer, self.ours, strict=True)]

    def line(self) -> str:
        """One row of the table."""
        cells = [str(self.rows or "all"), str(self.batch)]
        for figure, scale, digits in (("cpu_s", 1.0, 2), ("peak_bytes", 1e6, 0)):
            for side in (self.peer, self.ours):
                cells.append(spread([run[figure] / scale for run in side], digits))
            cells.append(spread(self.ratios(figure), 1))
        return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float], digits: int) -> str:
    """`median (least-greatest)`."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def measure(rounds: int) -> list[Setting]:
    """Every setting, `rounds` times, the sides in turn."""
    subprocess.run(["sh", ROOT / "benchmarks/peer/install.sh", ENVIRONMENT], check=True)
    model, weights = embedded_model()
    transcoders = transcoder_directory(model)
    del model
    settings = [Setting(ROWS, batch) for batch in BATCHES] + [Setting(0, batch) for batch in ALL_ROWS_BATCHES]
    for number in range(rounds):
        for setting in settings:
            theirs = ["-m", "benchmarks.peer.attribution", weights, transcoders, PROMPT, setting.rows, setting.batch]
            setting.peer.append(_run(ENVIRONMENT / "bin/python", *theirs))
            refresh = setting.batch * UPDATE_INTERVAL
            setting.ours.append(_run(Path(sys.executable), "-m", "benchmarks.attribution_ours", setting.rows, refresh))
            print(f"round {number + 1}", setting.line(), file=sys.stderr)
    return settings


def agreement() -> str:
    """How far both graphs of the command line's default are the same."""
    model, weights = embedded_model()
    transcoders = transcoder_directory(model)
    with tempfile.TemporaryDirectory() as directory:
        theirs, own = Path(directory, "peer.safetensors"), Path(directory, "ours.safetensors")
        options = [weights, transcoders, PROMPT, ROWS, COMMAND_LINE_BATCH, theirs]
        _run(ENVIRONMENT / "bin/python", "-m", "benchmarks.peer.attribution", *options)
        refresh = COMMAND_LINE_BATCH * UPDATE_INTERVAL
        _run(Path(sys.executable), "-m", "benchmarks.attribution_ours", ROWS, refresh, own)
        peer, ours = load_file(theirs), load_file(own)
    common = torch.isin(ours["selected"], peer["selected"]).sum()
    text = f"{int(common)} of {len(peer['selected'])} selected features are the same"
    if peer["adjacency"].shape != ours["adjacency"].shape or common < len(peer["selected"]):
        return text
    return f"{text}; largest |difference| of an edge {(peer['adjacency'] - ours['adjacency']).abs().max():.1e}"


def verdicts(settings: Sequence[Setting]) -> list[str]:
    """Each bar with what was measured."""
    some = {setting.batch: median(setting.ratios("cpu_s")) for setting in settings if setting.rows}
    reached = {
        "command line default": some[COMMAND_LINE_BATCH],
        "best batch": min(some.values()),
        "all rows": min(median(setting.ratios("cpu_s")) for setting in settings if not setting.rows),
        "memory, all settings": min(median(setting.ratios("peak_bytes")) for setting in settings),
    }
    return [f"{name}: {reached[name]:.1f} times (bar {bar:g})" for name, bar in BARS.items()]


def _run(python: Path, *words: Any) -> dict[str, float]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(python), *map(str, words)], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    measured_settings = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    print("| rows | batch | peer, CPU-s | ours, CPU-s | ratio | peer, MB | ours, MB | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for each in measured_settings:
        print(each.line())
    print("\n".join([*verdicts(measured_settings), agreement()]))
    print("load averages", *(f"{load:.2f}" for load in os.getloadavg()))
