"""The cases: a family, a kind of transcoder, a prompt, a budget. Both sides read what `write_inputs` makes."""

from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import save_tiny, tiny_hf

KINDS = ("relu", "topk", "jumprelu", "skip", "jumprelu_skip")
"""`topk` keeps the largest, negative ones too; `jumprelu` has a threshold a feature; `skip` is ReLU with W_skip."""
PROMPTS = ("w5 w17 w44 w3 w71 w28 w60", "w1 w2", "w9 w9 w80 w33 w2 w61 w61 w14 w90 w11 w4 w7", "w95 w41 w13 w77")
N_FEATURES = 16


@dataclass(frozen=True)
class Case:
    """One graph."""

    family: str
    kind: str
    prompt: str = PROMPTS[0]
    max_nodes: int | None = None
    """Features attributed; None is all of them."""
    batch: int = 4
    update_interval: int = 2
    """`batch` * `update_interval` features are taken before influence is computed anew."""
    max_logits: int = 10
    logit_probability: float = 0.95
    backend: str = "transformerlens"
    """The peer's."""
    k: int = 5
    seed: int = 0

    @property
    def name(self) -> str:
        """Of the stored file."""
        budget = "all" if self.max_nodes is None else f"top{self.max_nodes}x{self.batch * self.update_interval}"
        return f"{self.family}-{self.kind}-{len(self.prompt.split())}tokens-{budget}-{self.backend}-{self.seed}"


def write_inputs(case: Case, directory: Path) -> tuple[Path, Path]:
    """The model's and the transcoders' directories under `directory`, seeded: the same on every machine."""
    model = directory / case.family
    if not model.exists():
        save_tiny(case.family, model)
    transcoders = directory / f"{case.family}-{case.kind}-{case.k}-{case.seed}"
    if not transcoders.exists():
        transcoders.mkdir(parents=True)
        _write_transcoders(case, transcoders)
    return model, transcoders


def _write_transcoders(case: Case, directory: Path) -> None:
    config = tiny_hf(case.family).config
    generator = torch.Generator().manual_seed(100 + case.seed)
    for layer in range(config.num_hidden_layers):
        save_file(_weights(case.kind, config.hidden_size, generator), directory / f"layer_{layer}.safetensors")
    settings: dict[str, object] = {
        "model_name": f"tiny-{case.family}",
        "model_kind": "transcoder_set",
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "mlp.hook_out",
        "scan": f"tiny-{case.kind}",
    }
    if case.kind == "topk":
        settings |= {"activation": "topk", "k": case.k}
    elif not case.kind.startswith("jumprelu"):
        settings["activation"] = "relu"
    (directory / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def _weights(kind: str, d: int, generator: torch.Generator) -> dict[str, Tensor]:
    def draw(*shape: int, scale: float) -> Tensor:
        return torch.randn(*shape, generator=generator) * scale

    weights = {
        "W_enc": draw(N_FEATURES, d, scale=d**-0.5),
        "b_enc": draw(N_FEATURES, scale=0.2),
        "W_dec": draw(N_FEATURES, d, scale=N_FEATURES**-0.5),
        "b_dec": draw(d, scale=0.2),
    }
    threshold, skip = draw(N_FEATURES, scale=0.4).abs(), draw(d, d, scale=0.5 * d**-0.5)
    if kind.startswith("jumprelu"):
        weights["activation_function.threshold"] = threshold
    if kind.endswith("skip"):
        weights["W_skip"] = skip
    return weights
