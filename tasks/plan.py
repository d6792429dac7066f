"""Plan: what training SAEs on a model, and tracing with them, will take, before anything is loaded (METHOD §6).

Bytes of training come from `tasks.training.estimate`, which the trainer itself plans with. Time is arithmetic over a
device's stated rates: FLOPs / (rate · utilisation) + bytes moved / (bandwidth · utilisation) + checkpoints / disk rate,
one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from store.errors import BadInput, Damaged, Missing
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from tasks.model.shapes import ModelShape
    from tasks.training.plan import TrainingPlan

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_FLOAT = 4
_GIGABYTE = 10**9
_WORKING_TOKENS = 2048
"""Tokens that run through the model together."""
_ADAM_PASSES = 6
"""A weight and its two averages, each read and written."""
_GATHERS = 4
"""Passes over the active pairs: the decoder, the codes' gradient, the gradients of both weights."""


class Params(_Params):
    """The options of `workbench plan`."""

    model: str = option(..., "A known model, a directory with a config.json, or a hub id.")
    layers: str = option("", "Layers to train, as 4-12,20; all if left out.")
    features: int = option(16_384, "Features a layer.", unit="features", ge=2)
    tokens: int = option(100_000_000, "Tokens to read, train and validation together.", unit="tokens", ge=100)
    validation_share: float = option(0.01, "Share of the documents kept from training.", gt=0.0, le=0.5)
    l0: int = option(64, "Features active at a token.", unit="features", ge=1)
    epochs: int = option(1, "Passes over each buffer-full of tokens.", ge=1)
    batch_size: int = option(4096, "Tokens a step.", unit="tokens", ge=1)
    context_length: int = option(256, "Longest window of one document.", unit="tokens", ge=2)
    buffer: str = option("64GiB", "Activations held on the host while training.")
    checkpoint_steps: int = option(1000, "Steps between checkpoints of a layer.", unit="steps", ge=1)
    dtype: Literal["bfloat16", "float16", "float32"] = option("bfloat16", "Of the model's weights.")
    device_memory: str = option("80GB", "Of the GPU.")
    flops: float = option(312e12, "The GPU's rate; an A100 in bfloat16.", unit="FLOP/s", gt=0.0)
    bandwidth: float = option(2.0e12, "The GPU's memory; an A100's of 80 GB.", unit="B/s", gt=0.0)
    utilisation: float = option(0.4, "The part of the GPU's two rates that is reached.", gt=0.0, le=1.0)
    disk_rate: float = option(2.0e9, "At which checkpoints are written.", unit="B/s", gt=0.0)


@dataclass(frozen=True)
class Budget:
    """What it takes. Bytes, floating-point operations, seconds."""

    layers: list[int]
    rows: int
    """Tokens to train on."""
    memory_bound: int
    """What is left of the device for a group's training: `workbench train --memory`."""
    groups: list[list[int]]
    """Layers that train together, from one pass of the model over the text each."""
    model_parameters: int
    model_bytes: int
    sae_parameters: int
    """Of all layers: encoder, decoder, both biases."""
    sae_bytes: int
    """Their weights in float32, as they are kept and loaded."""
    forward_flops: int
    """Of the model, up to each group's last layer."""
    training_flops: int
    moved_bytes: int
    """By Adam, and by gathering the decoder's rows of active features, where that is sparse."""
    rounds: int
    """Buffer-fulls, each used for all epochs."""
    written_bytes: int
    """By checkpoints, over the whole run."""
    seconds: float
    forward_seconds: float
    checkpoint_seconds: float
    device_bytes: int
    """While training, at its height: the model, a batch on its way, the largest group."""
    host_bytes: int
    """The buffer."""
    trace_bytes: int
    """Model and all of the SAEs, as `trace` holds them; what attribution takes (`--memory`) comes on top."""
    disk_bytes: int
    """Weights, the checkpoints beside them, and the model's own files."""
    captured_bytes: int
    """What these activations would take on disk, were they kept."""
    steps: int
    """A layer."""
    dense: bool
    """Whether the decoder and gradients are dense products, because so many features are active."""


def budget(params: Params) -> tuple[ModelShape, Budget]:
    """The shape of the model and what training on it takes.

    Raises `Missing` for a model that is not known and not here, `BadInput` for layers that it does not have, a layer
    that does not fit the device, and l0 above the features.
    """
    from tasks.model.naming import parse_layers
    from tasks.train import size_in_bytes
    from tasks.training.estimate import disk_needed, grouped, training_bytes

    shape = shape_of(params.model)
    layers = parse_layers(params.layers, shape.n_layers, params.model) if params.layers else [*range(shape.n_layers)]
    plan = _training_plan(params)
    buffer_bytes = size_in_bytes(params.buffer, "--buffer")
    model_bytes = shape.parameters * _BYTES[params.dtype]
    working = _working_bytes(shape, len(layers), params)
    free = size_in_bytes(params.device_memory, "--device-memory") - model_bytes - working
    bound = free // _GIGABYTE * _GIGABYTE
    if bound <= 0:
        held = (model_bytes + working) / 1e9
        raise BadInput(f"the model alone takes {held:.1f} GB and the device has {params.device_memory}", "a larger one")
    groups = grouped(layers, plan, shape.d_mlp, 0, bound)
    largest = training_bytes(plan, shape.d_mlp, max(map(len, groups)), 0)
    row_bytes = len(layers) * shape.d_mlp * _BYTES[params.dtype]
    sae_parameters = len(layers) * (2 * params.features * shape.d_mlp + params.features + shape.d_mlp)
    time = _time(shape, plan, params, groups, buffer_bytes // row_bytes)
    return shape, Budget(
        layers=layers, rows=plan.total_rows // params.epochs, memory_bound=bound, groups=groups,
        model_parameters=shape.parameters, model_bytes=model_bytes,
        sae_parameters=sae_parameters, sae_bytes=sae_parameters * _FLOAT, **vars(time),
        device_bytes=model_bytes + working + largest,
        host_bytes=min(buffer_bytes, params.tokens * row_bytes), trace_bytes=model_bytes + sae_parameters * _FLOAT,
        disk_bytes=disk_needed(plan, shape.d_mlp, groups) + model_bytes, captured_bytes=params.tokens * row_bytes,
    )  # fmt: skip


def document(params: Params) -> dict[str, Any]:
    """The budget as one document, with the shape and the command that trains so."""
    shape, found = budget(params)
    return {
        "model": params.model,
        "shape": asdict(shape),
        "options": params.model_dump(mode="json"),
        **asdict(found),
        "hours": found.seconds / 3600,
        "command": _command(params, shape, found),
    }


def shape_of(spec: str) -> ModelShape:
    """The shape of a known model, of a directory with a config.json, or of a hub id, whose config is then fetched."""
    from tasks.model.shapes import SHAPES

    known = {name.lower(): shape for name, shape in SHAPES.items()}
    if (found := known.get(spec.lower())) is not None:
        return found
    directory = Path(spec).expanduser()
    if directory.exists() and not (directory / "config.json").is_file():
        raise BadInput(f"{spec} holds no config.json", "give a model's directory, a hub id or a known model")
    if not directory.exists() and (spec.count("/") != 1 or spec.startswith((".", "/", "~"))):
        raise Missing(f"there is no model at {spec}", f"give a directory, a hub id, or one of {', '.join(SHAPES)}")
    return _configured(str(directory) if directory.exists() else spec, directory.exists())


def _configured(place: str, local: bool) -> ModelShape:
    """The shape that a transformers configuration says."""
    from transformers import AutoConfig

    from tasks.model.architecture import architecture_of
    from tasks.model.shapes import ModelShape

    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        if local:
            raise Damaged(f"the config.json of {place} cannot be read", "copy the model again") from error
        mend = "check its name and the network, or give a directory"
        raise Missing(f"the model {place} is neither known nor in the hub's cache, nor to be fetched", mend) from error
    architecture_of(config.model_type)
    heads = int(config.num_attention_heads)
    bias, mlp_bias = (bool(getattr(config, name, False)) for name in ("attention_bias", "mlp_bias"))
    return ModelShape(
        family=config.model_type, n_layers=int(config.num_hidden_layers), d_model=int(config.hidden_size),
        d_mlp=int(config.intermediate_size), n_heads=heads,
        n_kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        vocab_size=int(config.vocab_size), tied=bool(config.tie_word_embeddings),
        qkv_bias=bias or config.model_type == "qwen2", output_bias=bias, mlp_bias=mlp_bias,
    )  # fmt: skip


@dataclass(frozen=True)
class _Time:
    """The part of a budget that the time follows from."""

    forward_flops: int
    training_flops: int
    moved_bytes: int
    rounds: int
    written_bytes: int
    seconds: float
    forward_seconds: float
    checkpoint_seconds: float
    steps: int
    dense: bool


def _time(
    shape: ModelShape, plan: TrainingPlan, params: Params, groups: Sequence[Sequence[int]], held_rows: int
) -> _Time:
    """Operations and bytes of the whole run, one group after the other, `held_rows` tokens in the buffer."""
    from tasks.training.estimate import layer_bytes
    from tasks.training.pairs import DENSE_ABOVE

    n_layers, weights = sum(map(len, groups)), plan.n_features * shape.d_mlp
    rows = plan.total_rows
    steps = -(-rows // plan.batch_size)
    dense = plan.k / plan.n_features > DENSE_ABOVE["cuda"]
    a_row = 2 * weights * (5 if dense else 1) + (0 if dense else 2 * _GATHERS * plan.k * shape.d_mlp)
    a_pass = sum(shape.forward_flops(params.context_length, max(group) + 1) for group in groups)
    forward = a_pass * (rows // params.epochs)
    adam = 2 * weights * _FLOAT * _ADAM_PASSES * steps
    gathered = 0 if dense else _GATHERS * plan.k * shape.d_mlp * _FLOAT * rows
    training, moved = n_layers * a_row * rows, n_layers * (adam + gathered)
    held = max(1, min(held_rows, rows // params.epochs))
    rounds = -(-(rows // params.epochs) // held)
    checkpoints = -(-steps // params.checkpoint_steps)
    written = n_layers * checkpoints * layer_bytes(plan, shape.d_mlp)
    rate, bandwidth = params.flops * params.utilisation, params.bandwidth * params.utilisation
    computing = (forward + training) / rate + moved / bandwidth
    writing = written / params.disk_rate
    return _Time(
        forward_flops=forward, training_flops=training, moved_bytes=moved, rounds=rounds, written_bytes=written,
        seconds=computing + writing, forward_seconds=forward / rate, checkpoint_seconds=writing, steps=steps,
        dense=dense,
    )  # fmt: skip


def _training_plan(params: Params) -> TrainingPlan:
    """As `workbench train` would make it."""
    from tasks.train import Params as Training

    if params.l0 > params.features:
        raise BadInput(f"--l0 {params.l0} keeps more features than the {params.features} there are", "lower --l0")
    training = Training(
        features=params.features, l0=params.l0, epochs=params.epochs, batch_size=params.batch_size,
        context_length=params.context_length, precision="bfloat16",
    )  # fmt: skip
    return training.plan(params.tokens - round(params.tokens * params.validation_share))


def _working_bytes(shape: ModelShape, n_layers: int, params: Params) -> int:
    """A batch on its way through the model, and its rows of every layer before they reach the host."""
    width = shape.n_heads * shape.head_dim
    a_token = 4 * shape.d_mlp + 6 * shape.d_model + 2 * width + 2 * n_layers * shape.d_mlp
    return _WORKING_TOKENS * a_token * _BYTES[params.dtype]


def _command(params: Params, shape: ModelShape, found: Budget) -> str:
    """The training that the budget is of."""
    from tasks.command_line import command_line
    from tasks.train import Params as Training

    training = Training(
        layers=params.layers or f"0-{shape.n_layers - 1}", features=params.features, l0=params.l0,
        tokens=params.tokens, epochs=params.epochs, batch_size=params.batch_size, buffer=params.buffer,
        context_length=params.context_length, precision="bfloat16", validation_share=params.validation_share,
        memory=f"{found.memory_bound // _GIGABYTE}GB", checkpoint_steps=params.checkpoint_steps,
    )  # fmt: skip
    return command_line("train", training, Path("PROJECT"))
