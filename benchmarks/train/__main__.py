"""SAE training by this project beside SAELens, sparsify and dictionary_learning: same rows, order, batch, threads.

    python -m benchmarks.train [--tokens 200000] [--only ours,sparsify] [--features 4096,12288] [--k 32,64]
        [--threads 2] [--rounds 1] [--recovery 4000] [--json FILE] [--keep DIRECTORY]

Every run is a process of its own, one after another. Times are of the training loop: held-out judgements are off the
clock. Printed are the tables of docs/benchmarks.md. What `--keep` keeps, `benchmarks.train.recovery` judges on all
held-out documents.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.attribution_inputs import CACHE
from benchmarks.train.harness import RUN_FILE
from benchmarks.train.report import report

ROOT = Path(__file__).parents[2]
VERSIONS = {"saelens": "6.54.0", "sparsify": "1.3.3", "dictionary_learning": "0.1.0"}
LEARNING_RATES = {"ours": 4e-3, "saelens": 4e-3, "sparsify": 4e-3, "dictionary_learning": 4e-3}
"""One for all, as in the table of docs/benchmarks.md, which also has what others come to (`--learning-rate`)."""
WIDTH, BATCH, SHORTER = 1536, 2048, 0.5
"""`SHORTER`: the share of the tokens of a second run of ours, for the time to the peers' FVU."""


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--only", default="ours,saelens,sparsify,dictionary_learning")
    parser.add_argument("--features", default="4096,12288")
    parser.add_argument("--k", default="32,64")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--recovery", type=int, default=4000, help="held-out tokens for CE recovered; 0 for none")
    parser.add_argument("--learning-rate", type=float, help="the same for all, to try another")
    parser.add_argument("--json", type=Path, help="where every number goes")
    parser.add_argument("--keep", type=Path, help="where the SAEs go, a directory a run")
    return parser.parse_args()


def main() -> None:
    """Run, judge, print."""
    options = arguments()
    from benchmarks.train.inputs import activations
    from benchmarks.train.judge import judged, product_flops

    data = activations(options.tokens)
    trainers = options.only.split(",")
    pythons = {name: python_of(name) for name in trainers}
    runs: list[dict[str, Any]] = []
    for features, k in product(numbers(options.features), numbers(options.k)):
        flops = product_flops(WIDTH, features, BATCH, options.threads)
        for seed, name in product(range(options.rounds), trainers):
            for share in (1.0, SHORTER) if name == "ours" else (1.0,):
                tokens = round(share * options.tokens)
                rate = options.learning_rate or LEARNING_RATES[name]
                with directory_for(options.keep, f"{name}-{features}-{k}-{tokens}-{rate:g}-{seed}") as out:
                    found = trained(name, pythons[name], data, out, features, k, tokens, options.threads, rate, seed)
                    recovery_tokens = options.recovery if share == 1.0 else 0
                    found |= {"judged": judged(out, data, recovery_tokens), "product_flops": flops, "share": share}
                    (out / RUN_FILE).write_text(json.dumps(found))
                runs.append(found | {"trainer": name, "features": features, "k": k, "seed": seed})
                progress(runs[-1])
                if options.json:
                    options.json.write_text(json.dumps(runs, indent=1))
    print(report(runs))


@contextmanager
def directory_for(keep: Path | None, run: str) -> Iterator[Path]:
    """Where a run's SAE goes: for good under `keep`, for as long as the block lasts without."""
    if keep is None:
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory)
        return
    shutil.rmtree(keep / run, ignore_errors=True)
    (keep / run).mkdir(parents=True)
    yield keep / run


def numbers(text: str) -> list[int]:
    """`4096,12288` as numbers."""
    return [int(part) for part in text.split(",")]


def python_of(name: str) -> Path:
    """The interpreter of a trainer's environment, which is made on first need."""
    if name == "ours":
        return Path(sys.executable)
    environment = CACHE / f"{name}-{VERSIONS[name]}"
    subprocess.run(["sh", ROOT / "benchmarks/train/install.sh", name, environment], check=True)
    return environment / "bin/python"


def trained(
    name: str,
    python: Path,
    data: Path,
    out: Path,
    features: int,
    k: int,
    tokens: int,
    threads: int,
    rate: float,
    seed: int,
) -> dict[str, Any]:
    """One training as a process of its own; the line it printed."""
    module = f"benchmarks.train.{'ours' if name == 'ours' else f'peers.{name}'}"
    options = {"data": data, "out": out, "width": WIDTH, "features": features, "k": k, "batch": BATCH,
               "tokens": tokens, "threads": threads, "learning-rate": rate, "seed": seed}  # fmt: skip
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, "-m", module, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def progress(run: dict[str, Any]) -> None:
    """One line on stderr."""
    cost = f"{run['tokens'] / run['wall_s']:.0f} tokens/s, {run['tokens'] / run['cpu_s']:.0f} a CPU-second"
    print(f"{run['trainer']} {run['features']} k {run['k']} of {run['tokens']} tokens: {cost}, "
          f"FVU {run['judged']['fvu']:.4f}, {run['peak_bytes'] / 1e9:.2f} GB", file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    main()
