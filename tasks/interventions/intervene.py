"""Running edits on features in the real model, many edits of one prompt in one batch (METHOD §5).

`delta` writes h' = h + D(z') - D(z): what the dictionary misses is kept, so no edit means no change. `replace` writes
h' = D(z') in every layer of the set: the seed's replacement model. z is what the features are in the run itself, with
the edits of lower layers already done (with direct effects alone: what they are in the unmodified run).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import BadInput
from tasks.circuits.targets import Target
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.splice import Change, Splice, replacement, spliced_logits
from tasks.interventions.direct import DirectPaths
from tasks.interventions.edits import Edits
from tasks.interventions.regime import Freeze, held, hold_attention
from tasks.interventions.resume import PromptRun
from tasks.model.language_model import LanguageModel
from tasks.model.smaller_batches import in_smaller_batches, split


class Spelling(StrEnum):
    """What is written back for edited features."""

    DELTA = "delta"
    REPLACE = "replace"


@torch.no_grad()
def edited_logits(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    edits: Edits,
    n_rows: int,
    spelling: Spelling = Spelling.DELTA,
    freeze: Freeze = Freeze.NONE,
    n_prompt: int | None = None,
) -> Float[Tensor, "row pos vocab"]:
    """Logits of `n_rows` copies of a text, each with its own edits; under `delta` the model's own where there is none.

    The first `n_prompt` tokens (all, if not given) are the prompt, the others were generated: with
    `Freeze.ATTENTION` patterns are held in the prompt and live after it, with `Freeze.DIRECT` everything is held as it
    is in the unmodified model's run of the whole text. `BadInput` for direct effects of the replacement model.
    """
    refuse_replaced_direct(spelling, freeze)
    batch = model.token_tensor(tokens).expand(n_rows, -1)
    splices = edit_splices(dictionaries, edits, spelling)
    if freeze is Freeze.DIRECT and splices:
        return spliced_logits(model, batch, []) + DirectPaths.of(model, tokens, dictionaries).logits(splices, n_rows)
    held_attention = hold_attention(model, tokens[:n_prompt]) if freeze is Freeze.ATTENTION and splices else ()
    with held(model, held_attention):
        return spliced_logits(model, batch, splices)


def refuse_replaced_direct(spelling: Spelling, freeze: Freeze) -> None:
    """`BadInput` where direct effects are asked of the replacement model: its MLP outputs are not the frozen ones."""
    if spelling is Spelling.REPLACE and freeze is Freeze.DIRECT:
        raise BadInput(
            "direct effects keep what every MLP writes, and `replace` writes something else",
            "use the spelling delta with direct effects, or leave MLPs live",
        )


def edit_splices(dictionaries: DictionarySet, edits: Edits, spelling: Spelling = Spelling.DELTA) -> list[Splice]:
    """What the edits do to the MLPs of a batch. Under `delta`, 1·z + 0 is no edit."""
    if spelling is Spelling.DELTA:
        edits = edits.take((edits.multiply != 1) | (edits.add != 0))
    splices = []
    for layer, dictionary in dictionaries.layers.items():
        here = edits.take(edits.layer == layer)
        if len(here):
            change = _delta(dictionary, here) if spelling is Spelling.DELTA else _replace(dictionary, here)
            splices.append(Splice(layer, dictionary.reads, dictionary.writes, change))
        elif spelling is Spelling.REPLACE:
            splices.append(replacement(dictionary))
    return splices


def measure_each(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    rows: Sequence[Edits],
    target: Target,
    *,
    batch: int = 32,
    spelling: Spelling = Spelling.DELTA,
    freeze: Freeze = Freeze.NONE,
    advance: Callable[[float], None] = lambda _: None,
) -> Float[Tensor, " row"]:
    """The target's value under each of `rows`, as `measure_targets` with one target."""
    found = measure_targets(
        model, tokens, dictionaries, rows, [target], batch=batch, spelling=spelling, freeze=freeze, advance=advance
    )
    return found[:, 0]


@torch.no_grad()
def measure_targets(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    rows: Sequence[Edits],
    targets: Sequence[Target],
    *,
    batch: int = 32,
    spelling: Spelling = Spelling.DELTA,
    freeze: Freeze = Freeze.NONE,
    advance: Callable[[float], None] = lambda _: None,
) -> Float[Tensor, "row target"]:
    """Every target's value under each of `rows`, which are edited runs of one prompt, at most `batch` at a time.

    A batch that does not fit into memory is halved, for good. `WorkbenchError` if a batch of one does not fit.
    """
    refuse_replaced_direct(spelling, freeze)
    measure = _measurement(model, tokens, dictionaries, targets, spelling, freeze)
    if model.device.type == "cpu":
        batch = min(batch, -(-ENOUGH_TOKENS // len(tokens)))
    results = torch.empty(len(rows), len(targets), device=model.device)

    def values(here: list[int]) -> Tensor:
        return measure(Edits.join([rows[each].at_row(row) for row, each in enumerate(here)]), len(here))

    for here, found in in_smaller_batches(_neighbours(rows, batch), values):
        results[here] = found
        advance(len(here))
    return results


ENOUGH_TOKENS = 384
"""Tokens at once from which a processor gains little by more (SmolLM2's matrix products: 12 tokens 43 GFLOP/s, 48 139,
384 174, 768 177): further rows would only share less of what lies before their first edits."""


def _neighbours(rows: Sequence[Edits], batch: int) -> list[list[int]]:
    """The rows in batches whose first edits are near each other: as many bands of layers as of positions."""
    by_layer = sorted(range(len(rows)), key=lambda row: int(rows[row].layer.min()) if len(rows[row]) else -1)
    n_bands = max(1, isqrt(-(-len(rows) // batch)))
    batches = []
    for band in split(by_layer, max(1, -(-len(rows) // n_bands))):
        by_position = sorted(band, key=lambda row: int(rows[row].position.min()) if len(rows[row]) else -1)
        batches += split(by_position, batch)
    return batches


Measurement = Callable[[Edits, int], Tensor]
"""(edits of all rows, number of rows) -> [row, target]."""


def _measurement(
    model: LanguageModel,
    tokens: Sequence[int],
    dictionaries: DictionarySet,
    targets: Sequence[Target],
    spelling: Spelling,
    freeze: Freeze,
) -> Measurement:
    """How rows of one prompt are measured: whatever they share is computed now."""
    run = PromptRun.of(model, tokens)
    if freeze is Freeze.DIRECT:
        baseline = run.targets(dictionaries, [], 1, targets)
        paths = DirectPaths.of(model, tokens, dictionaries)
        return lambda edits, n_rows: baseline + paths.targets(edit_splices(dictionaries, edits), n_rows, targets)
    attention = hold_attention(model, tokens) if freeze is Freeze.ATTENTION else ()

    def measure(edits: Edits, n_rows: int) -> Tensor:
        start = run.first_shared(edits.position, targets) if spelling is Spelling.DELTA else 0
        splices = edit_splices(dictionaries, replace(edits, position=edits.position - start), spelling)
        return run.targets(dictionaries, splices, n_rows, targets, attention, start)

    return measure


def _delta(dictionary: Dictionary, edits: Edits) -> Change:
    def change(read: Tensor, write: Tensor) -> Tensor:
        n_positions = read.shape[1]
        codes, place_of = (edits.row * n_positions + edits.position).unique(return_inverse=True)
        places = torch.stack([codes // n_positions, codes % n_positions])
        z = dictionary.encode(read[places[0], places[1]].float())[place_of, edits.index]
        moved = (edits.multiply - 1) * z + edits.add
        by_place = z.new_zeros(places.shape[1], dictionary.n_features)
        by_place.index_put_((place_of, edits.index), moved, accumulate=True)
        written = dictionary.decode(by_place) - dictionary.write_bias
        result = write.clone()
        result[places[0], places[1]] += written.to(write.dtype)
        return result

    return change


def _replace(dictionary: Dictionary, edits: Edits) -> Change:
    def change(read: Tensor, write: Tensor) -> Tensor:
        z = dictionary.encode(read.float())
        where = (edits.row, edits.position, edits.index)
        edited = z.index_put(where, edits.multiply * z[where] + edits.add)
        written = dictionary.decode(edited)
        if dictionary.skip is not None:
            written = written + read.float() @ dictionary.skip.T
        return written.to(write.dtype)

    return change
