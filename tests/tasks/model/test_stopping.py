"""A request to stop is heard inside forward and backward passes, which otherwise stay what they are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from store.errors import Cancelled
from tasks.circuits.effect import predicted_effects
from tasks.circuits.frozen import freeze
from tasks.circuits.nodes import find_sources
from tasks.circuits.targets import LogitTarget
from tasks.dictionaries.dictionary_set import neuron_set
from tasks.dictionaries.protocol import Site
from tasks.dictionaries.splice import Splice, spliced_logits
from tasks.model.language_model import LanguageModel
from tasks.model.stopping import stopping_at_blocks

TOKENS = (5, 17, 44, 3, 71)


def spliced(model: LanguageModel) -> Callable[[], Tensor]:
    """A run with one layer's hidden doubled, through nnsight."""
    splice = Splice(1, Site.MLP_HIDDEN, Site.MLP_HIDDEN, lambda _read, write: write * 2)
    return lambda: spliced_logits(model, model.token_tensor(TOKENS), [splice])


def effects(model: LanguageModel) -> Callable[[], Tensor]:
    """A forward and a backward pass."""
    dictionaries = neuron_set(model)
    features = find_sources(model, freeze(model, TOKENS), dictionaries).features
    return lambda: predicted_effects(model, TOKENS, dictionaries, features, LogitTarget(9, 4, 0.0))


@pytest.mark.parametrize(("made", "checks_a_block"), [(spliced, 1), (effects, 2)])
def test_given_a_run_when_stopped_at_any_block_then_it_ends_there_and_the_next_run_is_as_before(
    tiny_model: Callable[[str], LanguageModel],
    made: Callable[[LanguageModel], Callable[[], Tensor]],
    checks_a_block: int,
) -> None:
    model = tiny_model("qwen2")
    run = made(model)
    alone, heard = run(), list[int]()
    with stopping_at_blocks(model, lambda: heard.append(1)):
        assert torch.equal(run(), alone)
    n_checks = len(heard)
    assert model.n_layers * checks_a_block - 1 <= n_checks <= model.n_layers * checks_a_block
    for last in range(1, n_checks + 1):
        calls: list[int] = []

        def check(calls: list[int] = calls, last: int = last) -> None:
            calls.append(1)
            if len(calls) == last:
                raise Cancelled("stopped on request", "again")

        with pytest.raises(Cancelled), stopping_at_blocks(model, check):
            run()
        assert len(calls) == last
        assert torch.equal(run(), alone)
    assert not any(block._forward_pre_hooks for block in model.blocks)
