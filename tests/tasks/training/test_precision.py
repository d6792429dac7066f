"""With `--precision bfloat16` matrix products are bfloat16's, everything else float32's, and training still learns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tasks.training import pairs
from tasks.training.plan import OBJECTIVES, Objective, Precision
from tasks.training.trainer import LayerTrainer
from tests.tasks.training.test_trainer import plan, planted_rows

PRODUCTS = {"mm", "addmm"}


class ProductTypes(TorchDispatchMode):
    """Remembers the types that matrix products of at least two rows and columns were made in."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[torch.dtype] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__.split(".")[-1] in PRODUCTS:
            matrices = [each for each in args if isinstance(each, Tensor) and each.dim() == 2]
            if min(size for each in matrices for size in each.shape) > 1:
                self.seen += [each.dtype for each in matrices]
        return func(*args, **(kwargs or {}))


@contextmanager
def all_dense() -> Iterator[None]:
    """As on a GPU, where pairs are too many for sparse products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pairs.DENSE_ABOVE, "cpu", 0.0)
        yield


def trained(objective: Objective, precision: Precision, steps: int = 60) -> LayerTrainer:
    rows = planted_rows(4096, seed=0)
    trainer = LayerTrainer.start(0, plan(objective, precision=precision, dead_window_share=0.02), rows)
    trainer.weights.b_enc[:8] -= 3.0
    for step in range(steps):
        trainer.step(rows[step % 32 * 128 : step % 32 * 128 + 128])
    return trainer


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_product_of_a_bfloat16_step_is_bfloat16s_and_every_weight_float32s(objective: Objective) -> None:
    with all_dense():
        trainer = trained(objective, "bfloat16", steps=4)
        assert trainer.silent_for.max() >= trainer.plan.dead_window, "revival must be at work in the step looked at"
        rows = planted_rows(128, seed=3)
        with ProductTypes() as products:
            trainer.step(rows)
    assert products.seen and set(products.seen) == {torch.bfloat16}
    held = [*trainer.weights.named().values(), *(each.square for each in trainer.optimizer.moments.values())]
    assert {tensor.dtype for tensor in held} == {torch.float32}


@pytest.mark.parametrize("objective", ["topk", "l1", "gated", "matryoshka"])
def test_a_bfloat16_run_learns_what_a_float32_run_does(objective: Objective) -> None:
    with all_dense():
        found = {each: trained(objective, each) for each in ("float32", "bfloat16")}
    judged = planted_rows(1000, seed=7)
    errors = {}
    for precision, trainer in found.items():
        sae = trainer.autoencoder()
        errors[precision] = float((judged - sae.decode(sae.encode(judged))).square().sum(1).mean())
    assert errors["bfloat16"] == pytest.approx(errors["float32"], rel=0.1)
    assert not torch.equal(found["bfloat16"].weights.W_dec, found["float32"].weights.W_dec)
