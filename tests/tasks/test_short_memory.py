"""Whatever runs the model in batches gives the same where memory is short, and tries no more rows than fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tasks.circuits.effect import direct_effects
from tasks.circuits.nodes import ActiveFeatures
from tasks.dictionaries.faithfulness import measure_recovery
from tasks.interventions.edge_tests import measure_edges
from tasks.interventions.removal import feature_values, values_keeping, zero_values
from tasks.interventions.validation import Bench
from tasks.model.hidden import stream_hidden
from tasks.model.language_model import LanguageModel
from tests.tasks.dictionaries.test_faithfulness import random_autoencoder
from tests.tasks.interventions.test_edge_tests import OTHERS, TARGET, TOKENS, chosen_edges, made
from tests.tasks.model.test_hidden import batch

FITS = 2


@contextmanager
def room_for(model: LanguageModel, most: int, tried: list[int]) -> Iterator[None]:
    """Inside, the model's first block finds no memory for more than `most` rows."""

    def allocate(_block: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        residual = arguments[0] if arguments else named["hidden_states"]
        tried.append(len(residual))
        if len(residual) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = model.blocks[0].register_forward_pre_hook(allocate, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def hidden(model: LanguageModel) -> list[Tensor]:
    """Windows of text: what capture, index and train read."""
    (rows,) = stream_hidden(model, [batch([8, 5, 7, 8, 3])], [0, 2])
    return [rows.hidden[0], rows.hidden[2], rows.documents, rows.positions]


def recovery(model: LanguageModel) -> list[Tensor]:
    """What evaluate measures."""
    saes = {layer: random_autoencoder(layer) for layer in (0, 2)}
    means = {layer: torch.zeros(48) for layer in saes}
    by_layer, joint = measure_recovery(model, saes, means, [batch([8, 5, 7, 8, 3])], lambda _n: None)
    found = [by_layer[0], by_layer[2], joint]
    return [torch.tensor([each.n_tokens, each.ce_clean, *each.ce.values(), *each.kl.values()]) for each in found]


def on_a_bench(measure: Callable[[Bench, ActiveFeatures], list[Tensor]]) -> Callable[[LanguageModel], list[Tensor]]:
    """The same with a prompt of the model and what is active on it."""

    def run(model: LanguageModel) -> list[Tensor]:
        return measure(*made(model, "sae", batch=5))

    return run


def effects(bench: Bench, active: ActiveFeatures) -> list[Tensor]:
    """What trace computes of kept edges."""
    some = active.take(torch.arange(0, len(active), 7))
    found = direct_effects(bench.model, TOKENS, bench.dictionaries, some, some, [TARGET], batch=5)
    return [found.of_features, found.of_tokens]


def edges(bench: Bench, active: ActiveFeatures) -> list[Tensor]:
    """What validate measures of edges."""
    clean = feature_values(bench.model, bench.dictionaries, TOKENS)
    found = measure_edges(bench, active, chosen_edges(active), clean, 1)
    return [found.clean, found.predicted_total, found.total, found.direct]


def circuits(bench: Bench, active: ActiveFeatures) -> list[Tensor]:
    """What validate measures of circuits."""
    kept = torch.rand(5, len(active), generator=torch.Generator().manual_seed(0)) > 0.5
    removed = feature_values(bench.model, bench.dictionaries, OTHERS[0])
    none = torch.zeros(5, dtype=torch.bool)
    live = values_keeping(bench, active, kept, none, removed, 1)
    return [live, values_keeping(bench, active, kept, ~none, zero_values(bench.dictionaries, 6, bench.model.device), 1)]


@pytest.mark.parametrize(
    "run", [hidden, recovery, on_a_bench(effects), on_a_bench(edges), on_a_bench(circuits)],
    ids=["hidden", "recovery", "effects", "edges", "circuits"],
)  # fmt: skip
def test_given_room_for_two_rows_when_more_are_asked_for_then_the_numbers_are_those_of_enough_memory(
    tiny_model: Callable[[str], LanguageModel], run: Callable[[LanguageModel], list[Tensor]]
) -> None:
    model = tiny_model("llama")
    expected, tried = run(model), list[int]()
    with room_for(model, FITS, tried):
        found = run(model)
    assert max(tried) > FITS
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
