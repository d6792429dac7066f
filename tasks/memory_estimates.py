"""What a job will take of memory beside its loaded model, from its params and the model's shape.

A kind of job without a formula has no estimate. Formulas count what is large; a real peak lies within a factor of
`FACTOR` (tests, and docs/worker.md). Bytes.
"""

from __future__ import annotations

import re
from collections import Counter
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
_LAYER = re.compile(r"L([0-9]+)/")
_BATCH_TOKENS = 2048
"""Tokens that are run together where text is read."""
_FEATURES_AT_ONCE = 256
"""Features whose logits over the whole vocabulary exist together, twice."""
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


def _baseline(params: Any, project: Project, model: LanguageModel) -> int | None:
    """The logits of the largest batch of prompts of equal length, their probabilities, and those of what comes next."""
    from tasks.baseline import PROMPTS_AT_ONCE, asked_for
    from tasks.behaviours import check_behaviour

    checked = [pair for each in asked_for(params) for pair in check_behaviour(model, each).pairs.values()]
    lengths = Counter(len(tokens) for pair in checked for tokens in (pair.clean, pair.corrupt) if tokens is not None)
    if not lengths:
        return None
    n_tokens = max(min(PROMPTS_AT_ONCE, n_prompts) * length for length, n_prompts in lengths.items())
    return int(3 * _FLOAT * n_tokens * model.vocab_size + _forward_bytes(model, n_tokens))


def _intervene(params: Any, project: Project, model: LanguageModel) -> int | None:
    """The set, one run that is remembered and pulled back for the prediction, and all logits of a batch of doses."""
    from store import graphs
    from tasks.doses import parse_doses
    from tasks.trace import NEURONS

    record = None if params.graph is None else graphs.find(project.db, params.graph)
    name = params.dictionary or (NEURONS if record is None else record.dictionary)
    form = {"chat": params.chat, "system": params.system, "prefill": params.prefill}
    tokens = record.token_ids if record and not params.prompt else model.tokenize(params.prompt, **form)
    n_rows = 1 if params.sweep is None else min(params.batch, len(parse_doses(params.sweep)))
    n_tokens = n_rows * len(tokens)
    doses = _FLOAT * n_tokens * model.vocab_size + _forward_bytes(model, n_tokens)
    stored_bytes = _stored_bytes(name, project, _edited_layers(params))
    if stored_bytes is None:
        return None
    alone = _frozen_bytes(model, len(tokens)) + _backward_bytes(model, 1, len(tokens))
    return int(stored_bytes + alone + doses)


def _validate(params: Any, project: Project, model: LanguageModel) -> int | None:
    """The graph's set, its run, and a batch of copies of its prompt pulled back to the lowest layer of the set."""
    from store import graphs

    if params.graph is None:  # the graphs of a behaviour are made on the way
        return None
    record = graphs.find(project.db, params.graph)
    stored_bytes = _stored_bytes(record.dictionary, project)
    if stored_bytes is None:
        return None
    n_positions = len(record.token_ids)
    n_tokens = params.batch * n_positions
    copies = _LOGIT_COPIES * n_tokens * model.vocab_size * _FLOAT + _forward_bytes(model, n_tokens)
    if params.edges:
        lowest = min(record.summary["dictionary_layers"])
        n_rows = min(params.batch, 2 * params.edges)
        copies = max(copies, _backward_bytes(model, n_rows, n_positions, model.n_layers - lowest))
    return int(stored_bytes + _frozen_bytes(model, n_positions) + copies)


def _retraced(params: Any, project: Project, model: LanguageModel) -> int | None:
    """A graph's run and what its active features write, as its trace held them."""
    from store import graphs

    record = graphs.find(project.db, params.graph)
    stored_bytes = _stored_bytes(record.dictionary, project)
    if stored_bytes is None:
        return None
    n_active = int(record.summary["active_features"])
    return int(stored_bytes + _frozen_bytes(model, len(record.token_ids)) + _written_bytes(model, n_active))


def _edited_layers(params: Any) -> set[int] | None:
    """The layers whose dictionaries are used; None for all: a swap, or edits that are read from elsewhere."""
    edits = [*params.ablate, *params.scale, *params.steer]
    named = [_LAYER.match(edit) for edit in edits]
    if params.swap or params.edits is not None or not all(named):
        return None
    return {int(found[1]) for found in named if found is not None}


def _stored_bytes(name: str, project: Project, layers: set[int] | None = None) -> int | None:
    """Bytes of the files of these layers (None: all) of a set of this project, 0 of neurons; None of a set from
    elsewhere. Files are mapped: a layer that is not used takes nothing."""
    if name == "neurons":
        return 0
    sql = "SELECT layer, size_bytes FROM dictionary JOIN file ON file.id = file_id WHERE name = ?"
    sizes = dict(project.db.execute(sql, [name]).fetchall())
    return sum(size for layer, size in sizes.items() if layers is None or layer in layers) if sizes else None


def _frozen_bytes(model: LanguageModel, n_positions: int) -> int:
    """What is remembered of one run of a prompt."""
    a_position = model.n_layers * (6 * model.d_model + 6 * model.d_mlp) + 3 * model.vocab_size
    patterns = model.n_layers * _n_heads(model) * n_positions**2
    return _FLOAT * (n_positions * a_position + patterns)


def _backward_bytes(model: LanguageModel, n_rows: int, n_positions: int, n_layers: int | None = None) -> int:
    """What a batch of prompts keeps for its backward pass through the last `n_layers`, all of them if left out."""
    n_layers = model.n_layers if n_layers is None else n_layers
    a_layer = 8 * model.d_model + 6 * model.d_mlp + 2 * _attention_width(model) + _n_heads(model) * n_positions
    return _FLOAT * n_rows * n_positions * (n_layers * a_layer + 3 * model.vocab_size)


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


def _index(params: Any, project: Project, model: LanguageModel) -> int | None:
    """The set, what is known of each feature, and the larger of reading text and of describing features."""
    from tasks.indexing.size import ACTIVE_BYTES, TEXT_BYTES, comparing_bytes, rows_at_once, state_bytes

    if params.capture or params.merge:
        return None
    found = _layers_of(params.dictionary, params.layers, project, model)
    stored_bytes = _stored_bytes(params.dictionary, project)
    if not found or stored_bytes is None:
        return None
    n_features = sum(size for size, _ in found)
    widest, n_active = max(found)
    n_rows = min(rows_at_once(widest), params.tokens)
    codes = n_rows * (3 * _FLOAT * widest + n_active * ACTIVE_BYTES)
    batch = min(params.tokens, _BATCH_TOKENS)
    reading = 2 * len(found) * batch * model.d_mlp * _FLOAT + _forward_bytes(model, batch) + codes
    promoting = 2 * _FEATURES_AT_ONCE * model.vocab_size * _FLOAT
    describing = n_features * TEXT_BYTES + max(promoting, comparing_bytes(widest, params.tokens))
    return int(stored_bytes + n_features * state_bytes(params.examples) + max(reading, describing))


def _feature_quality(params: Any, project: Project, model: LanguageModel) -> int | None:
    """The set, and a batch of held-out text with its features in every layer."""
    found = _layers_of(params.dictionary, params.layers, project, model)
    stored_bytes = _stored_bytes(params.dictionary, project)
    if not found or stored_bytes is None:
        return None
    batch = min(params.tokens, _BATCH_TOKENS)
    streamed = 2 * len(found) * batch * model.d_mlp * _FLOAT + _forward_bytes(model, batch)
    return int(stored_bytes + streamed + 4 * _FLOAT * batch * max(found)[0])


def _layers_of(name: str, layers: str, project: Project, model: LanguageModel) -> list[tuple[int, int]]:
    """(features, those active on a token) of every chosen layer of a set; none for a set that is not here."""
    chosen = set(model.parse_layers(layers)) if layers.strip() else set(range(model.n_layers))
    if name == "neurons":
        return [(model.d_mlp, model.d_mlp)] * len(chosen)
    sql = "SELECT layer, n_features, coalesce(json_extract(config, '$.k'), n_features) FROM dictionary WHERE name = ?"
    return [(size, k) for layer, size, k in project.db.execute(sql, [name]).fetchall() if layer in chosen]


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
    "baseline": _baseline,
    "index": _index,
    "feature-quality": _feature_quality,
    "intervene": _intervene,
    "validate": _validate,
    "heads": _retraced,
    "qk": _retraced,
}
