"""L0 against CE recovered, by objective: `python -m benchmarks.pareto [--project DIRECTORY] [--sets N]`.

About half an hour of a core; it goes on where it was stopped, and `--sets` makes do with the first N. Eight layers of
the embedded model, every objective on the same captured tokens with the same number of features, passes and seed, at
several sparsities; each set is evaluated one layer at a time and with all eight spliced. Printed is the table of
docs/training.md, and its figures are drawn.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.line_plot import Line, plot
from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.model.embedded import EMBEDDED_SPEC
from tasks.model.sources import describe_model, load_model
from tasks.registry import task
from workbench import VERSION

PROJECT = Path.home() / ".cache/workbench/bench/pareto"
DOCS = Path(__file__).parents[1] / "docs"
FIGURES = {"ce_recovered": "pareto.svg", "kl_recovered": "pareto_kl.svg"}
"""CE recovered of a thousand tokens is noise at its second decimal; KL is steadier."""
LAYERS, TOKENS, EVALUATED = "2,6,10,14,18,22,25,28", 24_000, 1_000
_SPARSER: list[tuple[str, str, dict[str, Any]]] = [
    (objective, f"{objective}-{l0}", {"l0": l0})
    for l0 in (32, 64, 16)
    for objective in ("topk", "batchtopk", "jumprelu", "matryoshka")
]
_PENALTIES: list[tuple[str, str, dict[str, Any]]] = [
    (objective, f"{objective}-{weight:g}", {"l1_coefficient": weight})
    for weight in (3.0, 6.0)
    for objective in ("l1", "gated")
]
RUNS = (*_SPARSER[:4], *_PENALTIES[:2], *_SPARSER[4:], *_PENALTIES[2:])
"""(objective, the set's name, its options), the most telling first."""


def main() -> None:
    """Train and evaluate what is missing, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=PROJECT)
    parser.add_argument("--sets", type=int, default=len(RUNS))
    options = parser.parse_args()
    directory = options.project
    model = load_model(EMBEDDED_SPEC, "cpu")
    if not (directory / "project.db").exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        Project.create(directory, describe_model(model), VERSION).close()
    rows = []
    with Project.open(directory, write=True) as project:
        context = Context(project, _model=model)
        capture = _run(context, "capture", layers=LAYERS, tokens=TOKENS)["capture"]
        for objective, name, shape in RUNS[: options.sets]:
            started = time.process_time()
            trained = _run(context, "train", capture=capture, objective=objective, name=name, **shape)
            found = _run(context, "evaluate", dictionary=name, tokens=EVALUATED, neurons=False)
            rows.append(row(objective, name, trained, found))
            print(f"{name}: {time.process_time() - started:.0f} CPU-s {rows[-1]}", file=sys.stderr, flush=True)
    print(table(rows))
    for measure, file in FIGURES.items():
        (DOCS / file).write_text(figure(rows, measure), encoding="utf-8")


def _run(context: Context, kind: str, **options: Any) -> dict[str, Any]:
    return execute(kind, task(kind).params_type.model_validate(options), context, reuse=True)


def row(objective: str, name: str, trained: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Means over the layers, and the joint splice."""
    layers = found["layers"]
    return {
        "objective": objective,
        "set": name,
        "l0": mean(layer["l0"] for layer in layers),
        "fvu": mean(layer["fvu"] for layer in layers),
        "dead": mean(layer["dead_share"] for layer in layers),
        "ce_recovered": mean(layer["ce_recovered"] for layer in layers),
        "ce_worst": min(layer["ce_recovered"] for layer in layers),
        "kl_recovered": mean(layer["kl_recovered"] for layer in layers),
        "joint": found["joint"]["ce_recovered"],
        "cpu_s": sum(layer["cpu_seconds"] for layer in trained["layers"]),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """One line a set, by objective and L0."""
    headings = ("set", "L0", "FVU", "dead", "CE rec., mean of layers", "worst layer", "KL rec.", "CE rec., all eight",
                "CPU-s")  # fmt: skip
    lines = [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    for each in sorted(rows, key=lambda row: (row["objective"], row["l0"])):
        cells = [each["set"], f"{each['l0']:.1f}", f"{each['fvu']:.3f}", f"{each['dead']:.1%}"]
        cells += [f"{each[key]:.3f}" for key in ("ce_recovered", "ce_worst", "kl_recovered", "joint")]
        cells.append(f"{each['cpu_s']:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(rows: list[dict[str, Any]], measure: str) -> str:
    """A line an objective: L0 on the x axis, the mean of CE or KL recovered on the y axis."""
    lines = []
    for objective in dict.fromkeys(row["objective"] for row in rows):
        points = sorted((row["l0"], row[measure]) for row in rows if row["objective"] == objective)
        lines.append(Line(objective, [x for x, _ in points], [y for _, y in points]))
    return plot(
        lines, "L0 (features active at a token)", f"{measure[:2].upper()} recovered, mean of eight layers, each alone"
    )


if __name__ == "__main__":
    main()
