"""The benchmark's runs as the tables of docs/benchmarks.md: medians over rounds, ratios to the peers, the bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

Runs = Sequence[dict[str, Any]]
HEADINGS = ("trainer", "features", "k", "tokens/s", "tokens/CPU-s", "peak GB", "of it training", "FVU held out", "L0",
            "dead", "CE recovered")  # fmt: skip


def report(runs: Runs) -> str:
    """Every run in a table, then, for each size, what the bars of the issue ask."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|" + " --- |" * len(HEADINGS)]
    sizes = list(dict.fromkeys((run["features"], run["k"]) for run in runs))
    for features, k in sizes:
        here = [run for run in runs if (run["features"], run["k"]) == (features, k)]
        for name in dict.fromkeys(run["trainer"] for run in here):
            lines.append(row(name, of(here, name)))
    lines += ["", *(line for size in sizes for line in bars(*size, runs))]
    return "\n".join(lines)


def of(runs: Runs, name: str) -> list[dict[str, Any]]:
    """One trainer's whole runs."""
    return [run for run in runs if run["trainer"] == name and run["share"] == 1.0]


def rate(runs: Runs, clock: str) -> float:
    """Tokens a second of wall or processor time, median."""
    return float(median(run["tokens"] / run[clock] for run in runs))


def row(name: str, runs: Runs) -> str:
    """One line of the table."""
    first, judged = runs[0], [run["judged"] for run in runs]
    recovered = [each["ce_recovered"] for each in judged if each.get("ce_recovered") is not None]
    cells = (
        name,
        first["features"],
        first["k"],
        f"{rate(runs, 'wall_s'):.0f}",
        f"{rate(runs, 'cpu_s'):.0f}",
        f"{median(run['peak_bytes'] for run in runs) / 1e9:.2f}",
        f"{median(run['peak_bytes'] - run['before_bytes'] for run in runs) / 1e9:.2f}",
        f"{median(each['fvu'] for each in judged):.4f}",
        f"{median(each['l0'] for each in judged):.1f}",
        f"{100 * median(each['dead_share'] for each in judged):.1f} %",
        f"{median(recovered):.3f}" if recovered else "–",
    )
    return f"| {' | '.join(map(str, cells))} |"


def bars(features: int, k: int, runs: Runs) -> list[str]:
    """What the bars ask of one size, for the trainers that ran."""
    here = [run for run in runs if (run["features"], run["k"]) == (features, k)]
    ours, peers = of(here, "ours"), [name for name in dict.fromkeys(r["trainer"] for r in here) if name != "ours"]
    if not ours:
        return []
    bound = median(run["product_flops"] for run in ours) / (2 * 1536 * features)
    lines = [f"{features} features, k {k}: float32 product {ours[0]['product_flops'] / 1e9:.0f} GFLOP/s, encoder alone "
             f"{bound:.0f} tokens/s, ours {100 * rate(ours, 'wall_s') / bound:.0f} % of it"]  # fmt: skip
    for name in peers:
        theirs = of(here, name)
        faster = [rate(ours, clock) / rate(theirs, clock) for clock in ("wall_s", "cpu_s")]
        lines.append(f"- {name}: ours is {faster[0]:.2f}x as fast by the clock, {faster[1]:.2f}x a CPU-second")
    if peers:
        lines += against_best(here, ours, peers)
    return [*lines, ""]


def against_best(here: Runs, ours: Runs, peers: Sequence[str]) -> list[str]:
    """FVU, time to the best peer's FVU, and memory."""
    best = min(peers, key=lambda name: median(run["judged"]["fvu"] for run in of(here, name)))
    target = median(run["curve"][-1]["fvu"] for run in of(here, best))
    lines = [f"- held-out FVU: ours {fvu(ours):.4f}, best peer ({best}) {fvu(of(here, best)):.4f}"]
    for clock, called in (("wall_s", "s by the clock"), ("cpu_s", "CPU-s")):
        needed = [
            time for run in here if run["trainer"] == "ours" and (time := time_to(run, target, clock)) is not None
        ]
        theirs = median(run["curve"][-1][clock] for run in of(here, best))
        told = f"{min(needed):.1f} against {theirs:.1f}, {theirs / min(needed):.1f}x less" if needed else "not reached"
        lines.append(f"- to FVU {target:.4f}: {told} ({called})")
    for figure, called in (("peak_bytes", "peak memory"), ("training", "of it training")):
        theirs = median(memory(of(here, name), figure) for name in peers)
        own = memory(ours, figure)
        lines.append(f"- {called}: {own / 1e9:.2f} GB, {own / theirs:.2f} of the peers' median {theirs / 1e9:.2f} GB")
    return lines


def fvu(runs: Runs) -> float:
    """Median over rounds."""
    return float(median(run["judged"]["fvu"] for run in runs))


def memory(runs: Runs, figure: str) -> float:
    """The process's peak, or what it grew by while training."""
    return float(median(run["peak_bytes"] - (run["before_bytes"] if figure == "training" else 0) for run in runs))


def time_to(run: dict[str, Any], target: float, clock: str) -> float | None:
    """When a run's curve is first at or below `target`, between its points by straight lines; None if never."""
    curve = run["curve"]
    if curve[0]["fvu"] <= target:
        return float(curve[0][clock])
    for before, after in pairwise(curve):
        if after["fvu"] <= target:
            share = (before["fvu"] - target) / (before["fvu"] - after["fvu"])
            return float(before[clock] + share * (after[clock] - before[clock]))
    return None
