"""Ask the peer: writes every case's inputs, runs circuit-tracer in its own environment, and keeps its answers.

    python -m tests.oracle.peer.generate [stored|all] [OUT]

`stored` (the default) are the cases kept beside this file; `all` are every family, kind, prompt, budget and backend.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

from tests.oracle.peer.cases import KINDS, PROMPTS, Case, write_inputs
from tests.tiny import FAMILIES

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ENVIRONMENT = Path.home() / ".cache/workbench/peers/circuit-tracer-0.5.0"

STORED = tuple(
    Case(family, KINDS[(i + shift) % len(KINDS)], PROMPTS[2 * shift], max_nodes=60 if shift else None, seed=shift)
    for i, family in enumerate(FAMILIES)
    for shift in (0, 1)
)
"""Every family twice: all features of a short prompt, and a budget of a longer one."""
BUDGETS = ({"max_nodes": None}, {"max_nodes": 20}, {"max_nodes": 30, "batch": 3, "update_interval": 1})


def every_case() -> list[Case]:
    """The sweep that is run by hand: too large to store."""
    lens = [
        Case(family, kind, prompt, seed=seed, **budget)  # type: ignore[arg-type]
        for seed, (family, kind, prompt, budget) in enumerate(product(FAMILIES, KINDS, PROMPTS, BUDGETS))
    ]
    return lens + [Case(family, kind, backend="nnsight") for family in FAMILIES for kind in KINDS]


def ask(cases: Sequence[Case], out: Path) -> None:
    """The peer's graph of every case, as `out`/<name>.safetensors."""
    subprocess.run(["sh", ROOT / "benchmarks/peer/install.sh", ENVIRONMENT], check=True)
    with tempfile.TemporaryDirectory() as inputs:
        documents = []
        for case in cases:
            model, transcoders = write_inputs(case, Path(inputs))
            documents.append(asdict(case) | {"name": case.name, "model": str(model), "transcoders": str(transcoders)})
        listing = Path(inputs) / "cases.json"
        listing.write_text(json.dumps(documents))
        command = [str(ENVIRONMENT / "bin/python"), "-m", "benchmarks.peer.graphs", str(listing), str(out.resolve())]
        subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    every = sys.argv[1:2] == ["all"]
    ask(every_case() if every else STORED, Path(sys.argv[2]) if len(sys.argv) > 2 else HERE)
