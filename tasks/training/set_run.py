"""Training a whole set: where its rows come from, what it will take, and group after group of its layers."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from store import jobs
from store.errors import BadInput
from store.project import Project
from tasks import capture
from tasks.context import Context
from tasks.dictionaries.activations import Activations, CapturedActivations
from tasks.dictionaries.corpus_text import SPLITS, CorpusText
from tasks.dictionaries.layer_choice import chosen_layers
from tasks.dictionaries.streamed import BufferShape, StreamedActivations
from tasks.train import Params
from tasks.training import estimate
from tasks.training.checkpoints import Checkpoints
from tasks.training.plan import TrainingPlan
from tasks.training.recovery import RecoveryProbe
from tasks.training.run import CURVE_ROWS, TrainedLayer, TrainingRun

_GIB = 1 << 30


@dataclass
class SetRun:
    """One set in the making."""

    params: Params
    context: Context
    layers: list[int]
    n_rows: int
    """Training rows a layer."""
    plan: TrainingPlan
    expected: estimate.RunPlan
    open: Callable[[list[int]], Activations]
    """The rows of a group of layers."""
    text: CorpusText | None
    corpus_hash: str = ""
    """Of the token stream; empty where the rows are a capture's, which has its own."""
    _started: float = field(default_factory=time.monotonic)
    _written_bytes: int = 0

    @classmethod
    def prepare(cls, params: Params, context: Context) -> "SetRun":
        """Everything that can be refused is refused here, before anything is written."""
        return _from_capture(params, context) if params.capture else _streamed(params, context)

    def announce(self) -> None:
        """Say what the run will take."""
        expected = self.expected
        groups = f"{len(expected.groups)} groups of at most {len(expected.groups[0])}"
        together = "together" if len(expected.groups) == 1 else f"in {groups}"
        self.context.progress.note(
            f"plan: {len(self.layers)} layers {together}, {self.n_rows} training tokens x {self.params.epochs} passes"
            f" in {expected.rounds} buffer-fulls; memory {expected.memory_bytes / _GIB:.2f} GiB, disk"
            f" {expected.disk_bytes / _GIB:.2f} GiB, time {_duration(expected.seconds)}"
        )

    def trained(self, checkpoints: Checkpoints) -> Iterator[TrainedLayer]:
        """Every layer, as it is done."""
        self._started = time.monotonic()
        probe = None
        if self.text is not None and self.params.recovery_tokens:
            probe = RecoveryProbe(self.context.model, self.text, self.params.recovery_tokens)
        total = self.plan.total_rows * len(self.layers)
        with self.context.stage("training SAEs", total, "tokens x layers") as stage:
            for group in self.expected.groups:
                run = TrainingRun(
                    self.context.model, self.open(group), checkpoints, self.plan, self.params.epochs,
                    self.params.checkpoint_steps, stage, probe,
                )  # fmt: skip
                for layer in run.layers():
                    self._written_bytes = max(self._written_bytes, checkpoints.total_bytes())
                    yield layer

    def outcome(self) -> dict[str, object]:
        """What was expected beside what was measured; says it, too."""
        seconds = time.monotonic() - self._started
        peak = estimate.peak_memory(self.context.model.device)
        weights = 2 * self.plan.n_features * self.context.model.d_mlp * 4 * len(self.layers)
        disk = self._written_bytes + weights
        self.context.progress.note(
            f"took: memory {peak / _GIB:.2f} GiB, disk {disk / _GIB:.2f} GiB, time {_duration(seconds)}"
        )
        return self.expected.document(peak, disk, seconds)


def _from_capture(params: Params, context: Context) -> SetRun:
    """Rows from shards: one layer after the other, so each is a group."""
    model = context.model
    _refuse_foreign(context.project, params.capture)
    layers = model.parse_layers(params.layers) if params.layers.strip() else []
    whole = CapturedActivations.open(context.project, params.capture, layers, params.buffer_bytes)
    n_validation = whole.n_validation_rows
    _require_rows(params, whole.n_rows, n_validation)
    plan = params.plan(whole.n_rows)
    held = min(params.buffer_bytes, whole.n_rows * model.d_mlp * 4)
    expected = _expected(params, context, plan, [[layer] for layer in whole.layers], held, whole.n_rounds, 0.0)
    return SetRun(
        params, context, whole.layers, whole.n_rows, plan, expected,
        lambda group: CapturedActivations.open(context.project, params.capture, group, params.buffer_bytes),
        _captured_text(context, params.capture) if params.recovery_tokens else None,
    )  # fmt: skip


def _captured_text(context: Context, capture_id: int) -> CorpusText:
    """The text that a capture was made from, whose held-out documents are the capture's; refused if it has changed."""
    sql = "SELECT params, corpus_hash FROM job JOIN capture ON job.id = job_id WHERE capture.id = ?"
    ((made_with, corpus_hash),) = context.project.db.execute(sql, [capture_id]).fetchall()
    text = capture.Params.model_validate_json(made_with).text(context.model)
    if text.content_hash() != corpus_hash:
        raise BadInput(
            f"the text that capture {capture_id} was made from has changed, and CE recovered is measured on it",
            "leave out --recovery-tokens, or capture again",
        )
    return text


def _streamed(params: Params, context: Context) -> SetRun:
    """Rows straight from the model: a pass over the text for each group of layers."""
    model = context.model
    text = CorpusText(model, params.corpus, params.context_length, params.tokens, params.validation_share, params.seed)
    text.require(*SPLITS)
    layers = chosen_layers(model, params.layers)
    census = text.census()
    n_rows = census.rows["train"]
    _require_rows(params, n_rows, census.rows["validation"])
    shape = BufferShape.of(model, len(layers), params.buffer_bytes)
    plan = params.plan(n_rows)
    bound = params.memory_bytes or estimate.free_memory(model.device)
    held = estimate.buffer_size(model, shape, len(layers), n_rows)
    on_device = 0 if model.device.type == "cuda" else held
    groups = estimate.grouped(layers, plan, model.d_mlp, on_device, bound)
    forward = estimate.forward_seconds_per_row(model, text, layers) * (n_rows + shape.validation_rows) * len(groups)
    expected = _expected(params, context, plan, groups, held, -(-n_rows // shape.rows), forward)
    return SetRun(
        params, context, layers, n_rows, plan, expected,
        lambda group: StreamedActivations.open(model, text, group, shape, lambda _rows: context.check()), text,
        census.content_hash,
    )  # fmt: skip


def _expected(
    params: Params, context: Context, plan: TrainingPlan, groups: list[list[int]], buffer_bytes: int, rounds: int,
    forward_s: float,
) -> estimate.RunPlan:  # fmt: skip
    """What the run will take; refused if the disk has no room for it."""
    model = context.model
    largest = max(map(len, groups))
    disk = estimate.disk_needed(plan, model.d_mlp, groups)
    estimate.refuse_full_disk(context.project.directory, disk)
    before = estimate.peak_memory(model.device)
    memory = before + estimate.training_bytes(plan, model.d_mlp, largest, buffer_bytes)
    a_row = estimate.seconds_per_row(plan, model.d_mlp, model.device)
    seconds = forward_s + a_row * plan.total_rows * sum(map(len, groups))
    return estimate.RunPlan(groups, rounds, buffer_bytes, memory, disk, seconds)


def _require_rows(params: Params, n_train: int, n_validation: int) -> None:
    """Refuse text that does not fill one batch of each split."""
    for kind, found, needed in (
        ("training", n_train, min(params.batch_size, CURVE_ROWS)),
        ("held-out", n_validation, min(params.batch_size, CURVE_ROWS)),
    ):
        if found < needed:
            raise BadInput(
                f"{found} {kind} tokens do not fill one batch of {needed}",
                "read more --tokens, hold out a larger --validation-share, or lower --batch-size",
            )


def _refuse_foreign(project: Project, capture_id: int) -> None:
    """`BadInput` if the capture was made with another model than the project's, by the keys of its job."""
    sql = "SELECT params, params_hash FROM job JOIN capture ON job.id = job_id WHERE capture.id = ?"
    for params_json, made_with in project.db.execute(sql, [capture_id]).fetchall():
        expected = jobs.params_hash("capture", params_json, project.model.revision)
        if made_with != expected:
            raise BadInput(
                f"capture {capture_id} was made with another model: its key is {made_with[:12]}, with"
                f" {project.model.spec} it would be {expected[:12]}",
                "capture again with this project's model",
            )


def _duration(seconds: float) -> str:
    """For a sentence."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
