"""Training the layers of a group: which rows go to which trainer when, what is kept against a kill, how it ends."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import Cancelled
from tasks.context import Stage
from tasks.dictionaries.activations import Activations
from tasks.dictionaries.quality import Quality, QualityMeter
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.model.language_model import LanguageModel
from tasks.training.checkpoints import Checkpoints
from tasks.training.curve import TrainingPoint
from tasks.training.plan import POINTS, TrainingPlan
from tasks.training.recovery import RecoveryProbe
from tasks.training.trainer import LayerTrainer

CURVE_ROWS = 512
"""Validation rows behind each point of the curves; the final figures use all of them."""
RECOVERY_EVERY = 10
"""So many points of the curve apart, CE recovered is measured too."""


@dataclass(frozen=True)
class TrainedLayer:
    """What one layer's training came to."""

    autoencoder: SparseAutoencoder
    points: list[TrainingPoint]
    quality: Quality
    dead_share: float
    """Share of features silent over the last `dead_window` training tokens."""
    dead_window: int
    train_rows: int
    wall_s: float
    cpu_s: float


@dataclass
class TrainingRun:
    """One group of layers in the making."""

    model: LanguageModel
    activations: Activations
    checkpoints: Checkpoints
    plan: TrainingPlan
    epochs: int
    checkpoint_steps: int
    stage: Stage
    recovery: RecoveryProbe | None = None
    _unkept: Counter[int] = field(default_factory=Counter)
    """Layer -> steps since its last checkpoint."""

    def layers(self) -> Iterator[TrainedLayer]:
        """Train, and yield each layer as it is done. A layer that was done before a kill is not trained again."""
        trainers: dict[int, LayerTrainer] = {}
        last_round = self.activations.n_rounds - 1
        try:
            for round_, layer in self._visits():
                trainer = trainers.pop(layer, None) or self._resumed(layer)
                if trainer is None or trainer.position.round <= round_:
                    trainer = self._train_round(trainer, layer, round_)
                if round_ < last_round:
                    trainers[layer] = trainer
                else:
                    yield self._judged(trainer)
        except Cancelled:
            for trainer in trainers.values():
                self._keep(trainer)
            raise

    def _visits(self) -> Iterator[tuple[int, int]]:
        """(round, layer) in the order that wastes least: see `Activations.layer_by_layer`."""
        rounds, layers = range(self.activations.n_rounds), self.activations.layers
        if self.activations.layer_by_layer:
            return ((round_, layer) for layer in layers for round_ in rounds)
        return ((round_, layer) for round_ in rounds for layer in layers)

    def _resumed(self, layer: int) -> LayerTrainer | None:
        """The trainer that an earlier run of the same params wrote down, if any."""
        kept = self.checkpoints.read(layer, self.model.device)
        if kept is None:
            return None
        trainer = LayerTrainer.resume(layer, self.plan, *kept)
        self.stage.advance(trainer.position.rows)
        return trainer

    def _train_round(self, trainer: LayerTrainer | None, layer: int, round_: int) -> LayerTrainer:
        """Use the round's rows for all epochs, from the step where the trainer is."""
        started, cpu_started = time.monotonic(), time.process_time()
        rows = self.activations.rows(round_, layer)
        validation = self.activations.validation(layer)[:CURVE_ROWS]
        trainer = trainer or LayerTrainer.start(layer, self.plan, rows.to(self.model.device))
        spent = trainer.position.wall_s, trainer.position.cpu_s

        def count_time() -> None:
            trainer.position.wall_s = spent[0] + time.monotonic() - started
            trainer.position.cpu_s = spent[1] + time.process_time() - cpu_started

        batches = batch_order(len(rows), self.plan.batch_size, self.epochs, self.plan.seed, round_)
        for batch in batches_on(self.model.device, rows, batches[trainer.position.step :]):
            trainer.step(batch)
            trainer.position.step += 1
            if trainer.train_point_due():
                self._add_points(trainer, validation)
            self._unkept[layer] += 1
            if self._unkept[layer] == self.checkpoint_steps:
                count_time()
                self._keep(trainer)
            try:
                self.stage.advance(len(batch))
            except Cancelled:
                count_time()
                self._keep(trainer)
                raise
        trainer.position.round, trainer.position.step = round_ + 1, 0
        trainer.position.finished = trainer.position.round == self.activations.n_rounds
        count_time()
        if trainer.position.finished:
            self._keep(trainer)
        trainer.rest()
        return trainer

    def _keep(self, trainer: LayerTrainer) -> None:
        """Write a layer down, unless it stands as it was written last."""
        if self._unkept.pop(trainer.layer, 0):
            self.checkpoints.write(trainer.layer, trainer.position.rows, *trainer.state())

    def _add_points(self, trainer: LayerTrainer, validation: Float[Tensor, "rows m"]) -> None:
        """A point on both curves; now and then with CE recovered."""
        trainer.add_points(validation.to(self.model.device))
        n_points = len(trainer.points) // 2
        if self.recovery is not None and (n_points % RECOVERY_EVERY == 0 or n_points == POINTS):
            recovered = self.recovery.ce_recovered(trainer.autoencoder())
            trainer.points[-1] = replace(trainer.points[-1], ce_recovered=recovered)
        self.stage.context.measured(f"layer {trainer.layer}", _measures(trainer.points[-1]))
        if n_points % RECOVERY_EVERY == 0:
            self.stage.context.progress.note(_narrated(trainer))

    def _judged(self, trainer: LayerTrainer) -> TrainedLayer:
        """Measure a finished layer on all validation rows."""
        autoencoder = trainer.autoencoder()
        meter = QualityMeter(autoencoder, self.model.layers[trainer.layer].down.weight.detach())
        meter.add(self.activations.validation(trainer.layer))
        return TrainedLayer(
            autoencoder=autoencoder,
            points=trainer.points,
            quality=meter.quality(),
            dead_share=trainer.dead_share(),
            dead_window=self.plan.dead_window,
            train_rows=trainer.position.rows,
            wall_s=trainer.position.wall_s,
            cpu_s=trainer.position.cpu_s,
        )


def _measures(point: TrainingPoint) -> dict[str, float | None]:
    """A point as curves have it."""
    numbers = {key: value for key, value in asdict(point).items() if key != "split"}
    return {key: None if value is None else float(value) for key, value in numbers.items()}


def _narrated(trainer: LayerTrainer) -> str:
    """Where a layer is, in a line."""
    point = trainer.points[-1]
    recovered = "" if point.ce_recovered is None else f", CE recovered {point.ce_recovered:.2f}"
    return (
        f"layer {trainer.layer}, {point.tokens} tokens: FVU {point.fvu:.3f}, L0 {point.l0:.1f},"
        f" dead {point.dead_share:.1%}{recovered}"
    )


def batch_order(n_rows: int, batch_size: int, epochs: int, seed: int, round_: int) -> list[Tensor]:
    """The rows of each step of a round: every epoch a new permutation in near-equal batches. Decided by the seed."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + round_)
    n_batches = max(1, round(n_rows / batch_size))
    batches: list[Tensor] = []
    for _ in range(epochs):
        batches.extend(torch.randperm(n_rows, generator=generator).tensor_split(n_batches))
    return batches


def batches_on(device: torch.device, rows: Float[Tensor, "rows m"], order: list[Tensor]) -> Iterator[Tensor]:
    """The batches of rows that `order` numbers, on the device.

    For a GPU each is gathered into pinned memory and copied while the one before is in use.
    """
    if device.type != "cuda":
        yield from (rows[batch].to(device) for batch in order)
        return
    ahead: Tensor | None = None
    for batch in order:
        pinned = torch.empty(len(batch), rows.shape[1], dtype=rows.dtype, pin_memory=True)
        coming = torch.index_select(rows, 0, batch, out=pinned).to(device, non_blocking=True)
        if ahead is not None:
            yield ahead
        ahead = coming
    if ahead is not None:
        yield ahead
