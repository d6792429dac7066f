"""Runs in sparsify's own environment; imports nothing of the workbench. `generate.py` calls it.

python sparsify_peer.py write OUT      one SAE, with x, z and x̂ in OUT/sparsify.oracle.safetensors
python sparsify_peer.py read SETS OUT  what sparsify makes of SETS/NAME on x
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder, SparseCoderConfig

D_IN, N_LATENTS = 48, 24


def answer(sae: SparseCoder, x: torch.Tensor) -> dict[str, torch.Tensor]:
    values, features, _ = sae.encode(x)
    z = torch.zeros(len(x), sae.num_latents).scatter(1, features, values)
    return {"z": z, "x_hat": sae.decode(values, features)}


@torch.no_grad()
def write(out: Path) -> None:
    sae = SparseCoder(D_IN, SparseCoderConfig(num_latents=N_LATENTS, k=5), dtype=torch.float32)
    generator = torch.Generator().manual_seed(7)
    for parameter in sae.parameters():
        small = 0.3 if parameter.dim() == 1 else D_IN**-0.5
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * small)
    sae.save_to_disk(out / "sparsify" / "layers.1.mlp")
    x = torch.randn(16, D_IN, generator=torch.Generator().manual_seed(1))
    save_file({"x": x, **answer(sae, x)}, out / "sparsify.oracle.safetensors")


@torch.no_grad()
def read(sets: Path, out: Path) -> None:
    x = load_file(sets / "x.safetensors")["x"]
    answers: dict[str, torch.Tensor] = {}
    for config in sorted(sets.rglob("cfg.json")):
        name = config.parent.relative_to(sets).parts[0]
        found = answer(SparseCoder.load_from_disk(config.parent), x)
        answers |= {f"{name}.{key}": value.contiguous() for key, value in found.items()}
    save_file(answers, out)


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(Path, sys.argv[2:]))
