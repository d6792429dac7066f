"""A trainer finds planted features, and goes on bitwise the same after being written down."""

import math
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from store.errors import WorkbenchError
from tasks.dictionaries.quality import QualityMeter
from tasks.training import trainer as trainer_module
from tasks.training.plan import OBJECTIVES, Objective, TrainingPlan
from tasks.training.trainer import THRESHOLD_MEMORY, LayerTrainer
from tasks.training.weights import Adam, Weights

WIDTH, PLANTED, ACTIVE = 24, 40, 3


def planted_rows(n: int, seed: int) -> Tensor:
    """h made of `ACTIVE` of `PLANTED` fixed directions a row, plus a constant."""
    directions = torch.randn(PLANTED, WIDTH, generator=torch.Generator().manual_seed(99))
    directions /= directions.norm(dim=1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(n, PLANTED, generator=generator).topk(ACTIVE, dim=1).indices
    codes = torch.zeros(n, PLANTED).scatter_(1, chosen, 1 + torch.rand(n, ACTIVE, generator=generator))
    return codes @ directions + 0.5


def plan(objective: Objective = "topk", total_rows: int = 12_000, **options: Any) -> TrainingPlan:
    shape: dict[str, Any] = {"n_features": 64, "k": ACTIVE, "batch_size": 128, "learning_rate": 2e-2, "seed": 1}
    return TrainingPlan(**shape, total_rows=total_rows, objective=objective, l1_coefficient=0.7, **options)


def trained(how: TrainingPlan, rows: Tensor) -> LayerTrainer:
    trainer = LayerTrainer.start(0, how, rows)
    generator = torch.Generator().manual_seed(0)
    while trainer.position.rows < how.total_rows:
        trainer.step(rows[torch.randint(len(rows), (how.batch_size,), generator=generator)])
        if trainer.train_point_due():
            trainer.add_points(rows[:128])
    return trainer


@pytest.mark.parametrize(
    ("objective", "fvu", "l0"),
    [("topk", 0.2, 3.01), ("l1", 0.2, 15), ("batchtopk", 0.2, 4), ("matryoshka", 0.35, 4), ("jumprelu", 0.3, 6),
     ("gated", 0.3, 16)],
)  # fmt: skip
def test_training_finds_most_of_what_was_planted(objective: Objective, fvu: float, l0: float) -> None:
    trainer = trained(plan(objective), planted_rows(8000, seed=0))
    meter = QualityMeter(trainer.autoencoder(), torch.eye(WIDTH))
    meter.add(planted_rows(2000, seed=5))
    assert meter.quality().fvu < fvu and meter.quality().l0_mean < l0
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


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_trainer_that_is_written_down_and_read_back_goes_on_bitwise_the_same(
    objective: Objective,
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


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_kept_has_the_codes_that_training_had(objective: Objective) -> None:
    trainer = trained(plan(objective, total_rows=4000), planted_rows(2000, seed=0))
    rows = planted_rows(200, seed=7)
    sae = trainer.autoencoder()
    codes = trainer.objective.encode(rows * trainer.scale, 1.0)
    dense = torch.zeros(len(rows), 64)
    dense[codes.pairs.rows.long(), codes.pairs.features.long()] = codes.z
    kept = sae.encode(rows)
    assert sae.activation == {"topk": "topk", "l1": "relu"}.get(objective, "jumprelu")
    both = (kept > 0) & (dense > 0)
    assert torch.allclose(kept[both], dense[both], atol=1e-4)
    if objective not in ("batchtopk", "matryoshka"):
        assert not (((kept - dense).abs() > 1e-4) & ((kept > 1e-3) | (dense > 1e-3))).any()
    else:
        assert abs(float((kept > 0).sum()) / len(rows) - ACTIVE) < 1


def test_rows_that_are_no_numbers_stop_the_training_before_anything_moves() -> None:
    trainer = LayerTrainer.start(4, plan(), planted_rows(500, seed=0))
    before = {name: weight.clone() for name, weight in trainer.weights.named().items()}
    rows = planted_rows(64, seed=1)
    rows[5, 2] = torch.nan
    rows[9, 3] = torch.inf
    with pytest.raises(WorkbenchError, match="2 of 64 activations of layer 4 are not finite, in the batch after 0 tok"):
        trainer.step(rows)
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.weights.named().items())


def test_a_step_is_the_same_whether_gradients_are_held_whole_or_in_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = planted_rows(600, seed=0)
    ends = []
    for entries in (1 << 30, 5 * WIDTH):
        monkeypatch.setitem(trainer_module._STRETCH_ENTRIES, "cpu", entries)
        trainer = LayerTrainer.start(0, plan("matryoshka"), rows)
        for step in range(5):
            trainer.step(rows[step * 100 : step * 100 + 100])
        ends.append(trainer.weights.named())
    for name, weight in ends[0].items():
        assert torch.allclose(weight, ends[1][name], atol=1e-5), name


@pytest.mark.parametrize("memory", [0.999, THRESHOLD_MEMORY])
def test_adam_in_stretches_is_torchs_adam(memory: float) -> None:
    weights = Weights.random(10, 6, 0, torch.device("cpu"))
    twin = weights.W_dec.clone().requires_grad_()
    torchs, ours = torch.optim.Adam([twin], lr=0.01, betas=(0.9, memory)), Adam.over(weights)
    for step in range(4):
        gradient = torch.randn(10, 6, generator=torch.Generator().manual_seed(step))
        twin.grad = gradient.clone()
        torchs.step()
        ours.begin(0.01)
        for rows in (slice(0, 7), slice(7, 10)):
            ours.move("W_dec", weights.W_dec[rows], gradient[rows], rows, memory=memory)
    assert torch.allclose(weights.W_dec, twin.detach(), atol=1e-6)


def test_a_threshold_pushed_far_by_large_gradients_comes_back_by_small_ones() -> None:
    weights = Weights.random(4, 6, 0, torch.device("cpu"))
    weights.more = {"log_threshold": torch.zeros(4)}
    adam, moved = Adam.over(weights), []
    for step in range(100):
        adam.begin(0.01)
        gradient = torch.full((4,), -1.0 if step < 20 else 0.05)
        adam.move("log_threshold", weights.more["log_threshold"], gradient, memory=THRESHOLD_MEMORY)
        moved.append(float(weights.more["log_threshold"][0]))
    assert moved[19] > 0.15 and moved[-1] < moved[19] / 4


def test_free_decoder_rows_leave_the_unit_sphere() -> None:
    trainer = trained(plan("l1", total_rows=2000, unit_decoder=False), planted_rows(1000, seed=0))
    assert (trainer.weights.W_dec.norm(dim=1) - 1).abs().max() > 0.05


def test_features_that_died_come_back_with_revival_and_not_without() -> None:
    rows = planted_rows(2000, seed=0)
    shares = {}
    for weight in (0.0, 1.0):
        how = plan(total_rows=8000, dead_window_share=0.05, revival_weight=weight)
        trainer = LayerTrainer.start(0, how, rows)
        trainer.weights.b_enc[:30] -= 1.5
        for step in range(60):
            trainer.step(rows[step % 15 * 128 : step % 15 * 128 + 128])
        shares[weight] = trainer.dead_share()
    assert shares[1.0] < shares[0.0] - 0.1
