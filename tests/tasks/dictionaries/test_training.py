"""A trainer finds planted features, and goes on bitwise the same after being written down."""

import math
from typing import Literal

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from tasks.dictionaries.quality import QualityMeter
from tasks.dictionaries.training import LayerTrainer, TrainingPlan

WIDTH, PLANTED, ACTIVE = 24, 40, 3


def planted_rows(n: int, seed: int) -> Tensor:
    """h made of `ACTIVE` of `PLANTED` fixed directions a row, plus a constant."""
    directions = torch.randn(PLANTED, WIDTH, generator=torch.Generator().manual_seed(99))
    directions /= directions.norm(dim=1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(n, PLANTED, generator=generator).topk(ACTIVE, dim=1).indices
    codes = torch.zeros(n, PLANTED).scatter_(1, chosen, 1 + torch.rand(n, ACTIVE, generator=generator))
    return codes @ directions + 0.5


def plan(objective: Literal["topk", "l1"] = "topk", total_rows: int = 12_000) -> TrainingPlan:
    return TrainingPlan(objective, 64, ACTIVE, 0.7, batch_size=128, learning_rate=2e-2, seed=1, total_rows=total_rows)


def trained(how: TrainingPlan, rows: Tensor) -> LayerTrainer:
    trainer = LayerTrainer.start(0, how, rows)
    generator = torch.Generator().manual_seed(0)
    while trainer.position.rows < how.total_rows:
        trainer.step(rows[torch.randint(len(rows), (how.batch_size,), generator=generator)])
        if trainer.train_point_due():
            trainer.add_points(rows[:128])
    return trainer


@pytest.mark.parametrize(("objective", "fvu"), [("topk", 0.2), ("l1", 0.2)])
def test_training_finds_most_of_what_was_planted(objective: Literal["topk", "l1"], fvu: float) -> None:
    trainer = trained(plan(objective), planted_rows(8000, seed=0))
    meter = QualityMeter(trainer.autoencoder(), torch.eye(WIDTH))
    meter.add(planted_rows(2000, seed=5))
    assert meter.quality().fvu < fvu
    curve = [point.fvu for point in trainer.points if point.split == "validation"]
    assert len(curve) == 50 and curve[-1] < curve[0]


def test_decoder_rows_stay_on_the_unit_sphere_and_the_scale_is_folded_in() -> None:
    rows = planted_rows(2000, seed=0)
    trainer = trained(plan(total_rows=4000), rows)
    assert torch.allclose(trainer.weights.W_dec.norm(dim=1), torch.ones(64), atol=1e-5)
    assert math.isclose(trainer.scale, math.sqrt(WIDTH / float(rows.square().sum(1).mean())), rel_tol=1e-3)
    x = rows[:9] * trainer.scale
    z = torch.addmm(trainer.weights.b_enc, x, trainer.weights.W_enc.T)
    assert torch.allclose(trainer.autoencoder().pre_activation(rows[:9]), z, atol=1e-4)


def test_the_first_reconstruction_is_the_best_multiple_of_itself() -> None:
    rows = planted_rows(2000, seed=0)
    trainer = LayerTrainer.start(0, plan(), rows)
    sae = trainer.autoencoder()
    centred = rows - sae.write_bias
    found = sae.decode(sae.encode(rows)) - sae.write_bias
    best = float((found * centred).sum() / found.square().sum())
    assert math.isclose(best, 1.0, rel_tol=1e-3)


@pytest.mark.parametrize("objective", ["topk", "l1"])
def test_a_trainer_that_is_written_down_and_read_back_goes_on_bitwise_the_same(
    objective: Literal["topk", "l1"],
) -> None:
    rows, how = planted_rows(1000, seed=0), plan(objective, total_rows=3000)
    unbroken, broken = (LayerTrainer.start(0, how, rows) for _ in range(2))
    for step in range(12):
        batch = rows[step * 64 : step * 64 + 256]
        if step % 5 == 3:
            tensors, text = broken.state()
            broken = LayerTrainer.resume(0, how, load(save({k: v.contiguous() for k, v in tensors.items()})), text)
        for trainer in (unbroken, broken):
            trainer.step(batch)
            if trainer.train_point_due():
                trainer.add_points(rows[:50])
    for name, weight in unbroken.weights.named().items():
        assert torch.equal(weight, broken.weights.named()[name]), name
    assert unbroken.points == broken.points and torch.equal(unbroken.silent_for, broken.silent_for)


def test_fvu_is_that_of_the_formula_and_dead_features_are_counted_over_the_window() -> None:
    trainer = LayerTrainer.start(0, plan(), planted_rows(500, seed=0))
    sae, rows, down = trainer.autoencoder(), planted_rows(300, seed=3), torch.randn(5, WIDTH)
    meter = QualityMeter(sae, down)
    for piece in rows.split(77):
        meter.add(piece)
    quality = meter.quality()
    z = sae.encode(rows)
    error = rows - sae.decode(z)
    assert math.isclose(quality.fvu, float(error.square().sum() / (rows - rows.mean(0)).square().sum()), rel_tol=1e-4)
    out = rows @ down.T
    expected = float((error @ down.T).square().sum() / (out - out.mean(0)).square().sum())
    assert math.isclose(quality.fvu_output, expected, rel_tol=1e-4)
    assert quality.dead_share == float(((z > 0).sum(0) == 0).double().mean()) and quality.n_tokens == 300
    assert math.isclose(quality.l0_mean, float((z > 0).sum(1).double().mean()))
