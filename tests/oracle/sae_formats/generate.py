"""Ask the peers: each writes SAEs and says what they make of x, reads ours, and SAELens evaluates one.

    python -m tests.oracle.sae_formats.generate [OUT]

Needs the peers' environments: `sh benchmarks/train/install.sh PEER ~/.cache/workbench/peers/PEER-VERSION`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from tasks.dictionaries.formats.saelens import hook_name, write_saelens
from tasks.dictionaries.formats.sparsify import folder_name, write_sparsify
from tests.tiny import save_tiny

HERE = Path(__file__).parent
PEERS = Path.home() / ".cache/workbench/peers"
PYTHONS = {"saelens": PEERS / "saelens-6.54.0/bin/python", "sparsify": PEERS / "sparsify-1.3.3/bin/python"}
SPECIAL = 95
"""The first token of every window, and of no other position: SAELens leaves such tokens out."""


def ask(peer: str, *words: str | Path) -> None:
    """Run one command of a peer's script in the peer's environment."""
    subprocess.run([PYTHONS[peer], HERE / f"{peer}_peer.py", *words], check=True)


def windows() -> torch.Tensor:
    """Six windows of twelve tokens of the tiny model."""
    tokens = torch.randint(0, SPECIAL, (6, 12), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = SPECIAL
    return tokens


def main(out: Path) -> None:
    """Write every oracle file."""
    from tests.tasks.dictionaries.test_foreign_formats import KINDS, autoencoder, evaluated_autoencoder, rows

    for peer in PYTHONS:
        ask(peer, "write", out)
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        for kind in KINDS:
            write_saelens(autoencoder(kind), directory / "saelens" / kind / hook_name(1), "tiny:llama")
        write_sparsify(autoencoder("topk"), directory / "sparsify/topk" / folder_name(1), "tiny:llama")
        for peer in PYTHONS:
            save_file({"x": rows()}, directory / peer / "x.safetensors")
            ask(peer, "read", directory / peer, out / f"read_by_{peer}.safetensors")
        model = save_tiny("llama", directory / "model")
        write_saelens(evaluated_autoencoder(), directory / "sae", "tiny:llama")
        save_file({"tokens": windows(), "special": torch.tensor(SPECIAL)}, directory / "tokens.safetensors")
        ask("saelens", "evaluate", model, directory / "sae", directory / "tokens.safetensors", out / "evaluation.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
