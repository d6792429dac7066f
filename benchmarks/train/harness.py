"""What every trainer of the benchmark is run by, ours and the peers': the same rows in the same order, one clock.

A trainer asks for its batches here. Now and then, when it does, the clock and the memory gauge stop, the SAE so far is
judged on held-out rows, and both go on. Torch and numpy alone, so that the peers' environments can use it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.process_cost import peak_bytes, reset_peak, resident_bytes

LAYER = 10
"""Of the embedded model, whose h is trained on."""
RUN_FILE = "run.json"
"""What a run came to, beside the SAE that it left."""
CURVE_POINTS = 16
CURVE_ROWS = 4096
_JUDGED_AT_ONCE = 1024
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Run:
    """One training of the benchmark."""

    data: Path
    """`train.f32` and `validation.f32`: rows of h, shuffled."""
    out: Path
    """Where the SAE goes, in a format that the workbench imports."""
    width: int
    features: int
    k: int
    batch: int
    tokens: int
    threads: int
    learning_rate: float
    seed: int

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return self.tokens // self.batch

    def rows(self, file: str, first: int, n: int) -> Tensor:
        """n rows of a file from row `first`; read, not mapped: they count as memory only while they are used."""
        with (self.data / file).open("rb") as stream:
            stream.seek(first * self.width * _FLOAT_BYTES)
            values = np.fromfile(stream, dtype=np.float32, count=n * self.width)
        return torch.from_numpy(values.reshape(-1, self.width))


def parsed() -> Run:
    """The run that the command line describes."""
    parser = argparse.ArgumentParser()
    for name, kind in Run.__annotations__.items():
        convert = {"Path": Path, "int": int, "float": float}[kind]
        parser.add_argument(f"--{name.replace('_', '-')}", type=convert, required=True)
    run = Run(**vars(parser.parse_args()))
    torch.set_num_threads(run.threads)
    return run


@dataclass
class Measured:
    """Cost so far, held-out rows and judgements left out."""

    run: Run
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    """Largest resident set of the process."""
    before_bytes: int = 0
    """Resident before training: Python and the libraries."""
    tokens: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    _started: tuple[float, float] = (0.0, 0.0)

    def go(self) -> None:
        """Start or restart the clock."""
        reset_peak()
        self._started = time.monotonic(), time.process_time()

    def stop(self) -> None:
        """Stop the clock."""
        wall_s, cpu_s = self._started
        self.wall_s += time.monotonic() - wall_s
        self.cpu_s += time.process_time() - cpu_s
        self.peak_bytes = max(self.peak_bytes, peak_bytes())

    def batches(self, reconstruct: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """The batches of the run; `reconstruct` is asked at `CURVE_POINTS` of them what the SAE makes of rows of h."""
        due = {round(self.run.steps * (i + 1) / CURVE_POINTS) for i in range(CURVE_POINTS - 1)}
        for step in range(self.run.steps):
            if step in due:
                self.judge(reconstruct)
            self.tokens += self.run.batch
            yield self.run.rows("train.f32", step * self.run.batch, self.run.batch)

    def judge(self, reconstruct: Callable[[Tensor], Tensor]) -> None:
        """Add a point of the curve, off the clock."""
        self.stop()
        x = self.run.rows("validation.f32", 0, CURVE_ROWS)
        with torch.no_grad():
            error = sum(float((piece - reconstruct(piece)).square().sum()) for piece in x.split(_JUDGED_AT_ONCE))
        fvu = error / float((x - x.mean(0)).square().sum())
        point = {"tokens": self.tokens, "wall_s": self.wall_s, "cpu_s": self.cpu_s, "fvu": fvu}
        self.curve.append({name: float(value) for name, value in point.items()})
        del x
        self.go()

    def document(self) -> dict[str, Any]:
        """What is printed as one JSON line."""
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "run"}
        return shown | {"run": {name: str(value) for name, value in asdict(self.run).items()}}


def started(run: Run) -> Measured:
    """The clock of a run, running."""
    measured = Measured(run, before_bytes=resident_bytes())
    measured.go()
    return measured


def finished(measured: Measured, reconstruct: Callable[[Tensor], Tensor]) -> None:
    """The last point of the curve, and the line that the benchmark reads."""
    measured.judge(reconstruct)
    print(json.dumps(measured.document()), flush=True)


def mean_norm(run: Run) -> float:
    """Mean ‖h‖ of the first batches, by which trainers that do not scale their input have it scaled to one."""
    return float(run.rows("train.f32", 0, 8 * run.batch).norm(dim=1).mean())
