"""What a job will take of memory beside its loaded model, from its params and the model's shape.

A kind of job without a formula has no estimate. Formulas count what is large; a real peak lies within a factor of
`FACTOR` (tests, and docs/worker.md). Bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from store.errors import WorkbenchError
from tasks.params import needs_special_start

if TYPE_CHECKING:
    from store.project import Project
    from tasks.model.language_model import LanguageModel
    from tasks.params import Params

FACTOR = 2.0
"""An estimate is at least the peak divided by this, and at most the peak times this."""
_FLOAT = 4
_BATCH_TOKENS = 2048
"""Tokens that are run together where text is read."""
_LOGIT_COPIES = 4
"""Arrays of the size of the logits that exist together: the model's own, probabilities, and two on the way."""


def estimated_bytes(kind: str, params: Params, project: Project, model: LanguageModel) -> int | None:
    """What the job is expected to take beside the loaded model; None for a kind without a formula, or for options that
    decide only on the way how much there is to do."""
    formula = _FORMULAS.get(kind)
    try:
        return None if formula is None else formula(params, project, model)
    except WorkbenchError:  # the job itself says what is wrong with its options
        return None


def _trace(params: Any, project: Project, model: LanguageModel) -> int | None:
    """The rows that are kept and the block that is pulled back, then a batch of effects with its backward pass."""
    from tasks.trace import MAX_FEATURES, MAX_NEURONS, NEURONS

    if params.behaviour:
        return None
    n_positions = len(
        model.tokenize(
            params.prompt, chat=params.chat, system=params.system, prefill=params.prefill,
            special_start=needs_special_start(params.dictionary, params.special_start),
        )
    )  # fmt: skip
    layers = None if params.layers is None else model.parse_layers(params.layers)
    found = _active_a_position(params.dictionary, layers, project, model)
    if found is None:
        return None
    n_a_position, stored_bytes = found
    n_active = n_a_position * (n_positions - (not params.first_position))
    n_columns = n_active + (model.n_layers + 1) * n_positions
    most = params.max_nodes or (MAX_NEURONS if params.dictionary == NEURONS else MAX_FEATURES)
    n_rows = min(most, n_active) + params.max_logits
    bound = int(params.memory * 2**30) // 2
    row_bytes = _FLOAT * (n_positions * 3 * (model.d_model + model.d_mlp + _attention_width(model)) + 3 * n_columns)
    block = min(bound, max(params.block, 1) * row_bytes)
    effects = _backward_bytes(model, params.batch, n_positions) if params.edge_effects else 0
    held = stored_bytes + _frozen_bytes(model, n_positions) + _written_bytes(model, n_active) + n_active * 40
    return int(held + _kept_bytes(n_rows, n_columns, bound) + max(block, effects))


def _kept_bytes(n_rows: int, n_columns: int, bound: int) -> int:
    """Finished rows: whole ones if all fit into the bound, else the largest edges of each."""
    from tasks.circuits.known_rows import EDGE_BYTES, MOST_EDGES

    most = bound // (EDGE_BYTES * n_rows)
    return EDGE_BYTES * n_rows * (n_columns if most >= n_columns else min(most, MOST_EDGES))


def _written_bytes(model: LanguageModel, n_active: int) -> int:
    """What active features write: a vector for each distinct one, and for each place where these are few enough."""
    from tasks.circuits.nodes import MOST_SCALED_WRITES

    distinct = min(n_active, model.n_layers * model.d_mlp)
    scaled = n_active if n_active * model.d_model <= model.n_layers * MOST_SCALED_WRITES else 0
    return (distinct + scaled) * model.d_model * _FLOAT


def _active_a_position(
    name: str, layers: list[int] | None, project: Project, model: LanguageModel
) -> tuple[int, int] | None:
    """(active features at each position, bytes of the set's files); None where only a run of the prompt tells."""
    if name == "neurons":
        return len(layers or range(model.n_layers)) * model.d_mlp, 0
    sql = (
        "SELECT layer, json_extract(config, '$.k'), size_bytes FROM dictionary JOIN file ON file.id = file_id"
        " WHERE name = ?"
    )
    rows = project.db.execute(sql, [name]).fetchall()
    if not rows or any(k is None for _, k, _ in rows):
        return None
    chosen = [k for layer, k, _ in rows if layers is None or layer in layers]
    return sum(chosen), sum(size for *_, size in rows)


def _frozen_bytes(model: LanguageModel, n_positions: int) -> int:
    """What is remembered of one run of a prompt."""
    a_position = model.n_layers * (6 * model.d_model + 6 * model.d_mlp) + 3 * model.vocab_size
    patterns = model.n_layers * _n_heads(model) * n_positions**2
    return _FLOAT * (n_positions * a_position + patterns)


def _backward_bytes(model: LanguageModel, n_rows: int, n_positions: int) -> int:
    """What a batch of prompts keeps for its backward pass."""
    a_layer = 8 * model.d_model + 6 * model.d_mlp + 2 * _attention_width(model) + _n_heads(model) * n_positions
    return _FLOAT * n_rows * n_positions * (model.n_layers * a_layer + 3 * model.vocab_size)


def _forward_bytes(model: LanguageModel, n_tokens: int) -> int:
    """What one forward pass over so many tokens takes on the way: one layer at a time."""
    return _FLOAT * n_tokens * (4 * model.d_mlp + 6 * model.d_model + 2 * _attention_width(model))


def _capture(params: Any, project: Project, model: LanguageModel) -> int:
    """The rows of a shard in every layer, once more while they are written, and a batch on its way."""
    from tasks.capture import SHARD_BYTES
    from tasks.dictionaries.layer_choice import chosen_layers
    from tasks.dictionaries.shards import DTYPES

    row_bytes = model.d_mlp * DTYPES[params.dtype].itemsize
    n_layers = len(chosen_layers(model, params.layers))
    n_rows = min(params.tokens, max(1, SHARD_BYTES // row_bytes))
    batch = min(params.tokens, _BATCH_TOKENS)
    streamed = 2 * n_layers * batch * model.d_mlp * _FLOAT
    return int(n_rows * row_bytes * (n_layers + 2) + streamed + _forward_bytes(model, batch))


def _train(params: Any, project: Project, model: LanguageModel) -> int | None:
    """The buffer, the layers of a group with their moments, a step, and a batch on its way through the model."""
    from tasks.dictionaries.layer_choice import chosen_layers
    from tasks.dictionaries.streamed import BufferShape
    from tasks.training.estimate import buffer_size, training_bytes

    if params.capture:
        return None
    n_layers = len(chosen_layers(model, params.layers))
    shape = BufferShape.of(model, n_layers, params.buffer_bytes)
    buffer = buffer_size(model, shape, n_layers, params.tokens)
    streamed = 2 * n_layers * _BATCH_TOKENS * model.d_mlp * _FLOAT
    training = training_bytes(params.plan(params.tokens), model.d_mlp, n_layers, buffer)
    return int(training + streamed + _forward_bytes(model, _BATCH_TOKENS))


def _evaluate(params: Any, project: Project, model: LanguageModel) -> int:
    """A batch's logits several times over, beside the set and what goes into each layer."""
    sql = "SELECT sum(size_bytes) FROM dictionary JOIN file ON file.id = file_id WHERE name = ?"
    [(stored_bytes,)] = project.db.execute(sql, [params.dictionary]).fetchall()
    n_tokens = min(params.tokens, _BATCH_TOKENS)
    logits = _LOGIT_COPIES * n_tokens * model.vocab_size * _FLOAT
    inputs = model.n_layers * n_tokens * model.d_model * _FLOAT
    return int((stored_bytes or 0) + logits + inputs + _forward_bytes(model, _BATCH_TOKENS))


def _n_heads(model: LanguageModel) -> int:
    return int(model.hf.config.num_attention_heads)


def _attention_width(model: LanguageModel) -> int:
    """Width of what goes into an attention's output projection."""
    return int(model.layers[0].output.in_features)


_FORMULAS: dict[str, Callable[[Any, Project, LanguageModel], int | None]] = {
    "trace": _trace,
    "capture": _capture,
    "train": _train,
    "evaluate": _evaluate,
}
