"""How attribution grows: seconds and bytes against prompt length, rows, and active features; one plot of them.

    python -m benchmarks.attribution_growth             every point, two processes at a time -> docs/growth.svg
    python -m benchmarks.attribution_growth point TOKENS ROWS ACTIVE

Same stages, model and made transcoders as `benchmarks.attribution`; one thread a process. ACTIVE is the mean number of
active features at a position: the bias of every encoder is set to it on the prompt that is traced.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.attribution_inputs import ACTIVE_PER_POSITION, PROMPT, embedded_model, transcoder_directory
from benchmarks.attribution_ours import BLOCK, LOGIT_PROBABILITY, MAX_LOGITS
from benchmarks.log_plot import Series, panels
from benchmarks.process_cost import measured
from tasks.circuits.attribution import attribute
from tasks.circuits.frozen import FrozenRun, freeze
from tasks.circuits.linearise import Rule
from tasks.circuits.nodes import find_sources
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import salient_logits
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.transcoder import Transcoder
from tasks.dictionaries.transcoder_files import load_transcoder_set
from tasks.model.language_model import LanguageModel

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs" / "growth.svg"
SHORT, ROWS, EVERY_ROW = 12, 1024, 10**9
REFRESH = 1024
AT_ONCE = 2
"""Processes, of one thread each."""


@dataclass(frozen=True)
class Point:
    """One attribution."""

    n_tokens: int = SHORT
    rows: int = ROWS
    active: float = ACTIVE_PER_POSITION


SWEEPS: dict[str, list[Point]] = {
    "tokens in the prompt": [Point(n_tokens=n) for n in (12, 25, 50, 100, 200, 400, 1000)],
    "rows attributed": [Point(rows=n) for n in (64, 256, 1024, 4096, EVERY_ROW)],
    "active features": [Point(active=n) for n in (4.4, 17.6, 35.2, 70.4, 140.8)],
}


def run(point: Point) -> dict[str, float]:
    """Attribute once in this process, after a small graph, and tell what it cost."""
    torch.set_num_threads(1)
    model, _ = embedded_model()
    text = PROMPT if point.n_tokens == SHORT else (ROOT / "README.md").read_text(encoding="utf-8")
    tokens = model.tokenize(text, special_start=True)[: point.n_tokens]
    dictionaries = _biased(load_transcoder_set(str(transcoder_directory(model)), model), freeze(model, tokens), point)
    _attribute(model, dictionaries, tokens[:SHORT], 8)
    with measured() as cost:
        active, rows, edges = _attribute(model, dictionaries, tokens, point.rows)
    return asdict(cost) | {"active": active, "rows": rows, "edges": edges, "tokens": len(tokens)}


def _attribute(model: LanguageModel, dictionaries: DictionarySet, tokens: list[int], rows: int) -> tuple[int, int, int]:
    """How many features were active, how many were attributed, and the edges between them."""
    frozen = freeze(model, tokens)
    last = len(tokens) - 1
    probabilities = model.capped(frozen.logits_at([last])[0]).softmax(-1)
    targets = salient_logits(probabilities, last, MAX_LOGITS, LOGIT_PROBABILITY)
    sweep = Sweep(model, frozen, dictionaries, find_sources(model, frozen, dictionaries), Rule.RAY)
    graph = attribute(sweep, targets, max_nodes=rows, refresh=REFRESH, block=BLOCK)
    return graph.n_active, len(graph.features), len(graph.share)


def _biased(dictionaries: DictionarySet, run: FrozenRun, point: Point) -> DictionarySet:
    """The same features with the bias that lets `point.active` of them be active at a position."""
    layers = {}
    for layer, transcoder in dictionaries.layers.items():
        assert isinstance(transcoder, Transcoder)
        u = run.layers[layer].mlp_input[1:]
        pre = (u @ transcoder.W_enc.T).flatten()
        kept = round(point.active * len(u))
        threshold = pre.kthvalue(len(pre) - kept).values
        layers[layer] = dataclasses.replace(transcoder, b_enc=torch.full_like(transcoder.b_enc, -float(threshold)))
    return dataclasses.replace(dictionaries, layers=layers)


def _in_a_process(point: Point) -> dict[str, float]:
    words = ["point", str(point.n_tokens), str(point.rows), str(point.active)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attribution_growth", *words],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(point, done.stdout.splitlines()[-1], file=sys.stderr, flush=True)
    return result


def _table(name: str, results: list[dict[str, float]]) -> str:
    lines = [
        f"{name}:",
        "| tokens | active features | rows | edges | CPU-s | wall s | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results:
        counts = " | ".join(f"{each[figure]:.0f}" for figure in ("tokens", "active", "rows", "edges"))
        seconds = f"{each['cpu_s']:.2f} | {each['wall_s']:.1f}"
        lines.append(f"| {counts} | {seconds} | {each['peak_bytes'] / 1e6:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Every sweep, printed as tables and drawn; the longest prompts first, so that none is left for the end alone."""
    points = sorted({point for sweep in SWEEPS.values() for point in sweep}, key=lambda point: -point.n_tokens)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        of_point = dict(zip(points, threads.map(_in_a_process, points), strict=True))
    drawn = []
    for name, sweep in SWEEPS.items():
        results = [of_point[point] for point in sweep]
        print(_table(name, results), "", sep="\n")
        along = [each[name.split()[0]] for each in results]
        drawn.append(Series(name, "CPU seconds", along, [each["cpu_s"] for each in results]))
        drawn.append(Series(name, "peak MB", along, [each["peak_bytes"] / 1e6 for each in results]))
    PLOT.write_text(panels(drawn), encoding="utf-8")
    print("load averages", *(f"{load:.2f}" for load in os.getloadavg()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["point"]:
        print(json.dumps(run(Point(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))))
    else:
        main()
