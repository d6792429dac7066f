"""Freezing a prompt changes nothing and records what the model really computed."""

from collections.abc import Callable

import pytest
import torch

from tasks.circuits.frozen import freeze
from tasks.model.language_model import LanguageModel
from tests.oracle.seed_model import SeedModel
from tests.tiny import FAMILIES, tiny_hf

TOKENS = [5, 17, 44, 3, 71, 28, 60]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_twin_gives_the_logits_of_the_unmodified_class(family: str) -> None:
    hf = tiny_hf(family)
    with torch.no_grad():
        expected = hf(input_ids=torch.tensor([TOKENS])).logits[0].double()
    twin = SeedModel(hf)
    torch.testing.assert_close(twin.capped(twin.logits(twin.embed(TOKENS))), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_freezing_gives_the_unmodified_logits_and_leaves_the_model_as_it_was(
    tiny_model: Callable[[str], LanguageModel], family: str
) -> None:
    model, fresh = tiny_model(family), tiny_hf(family)
    implementation = model.hf.config._attn_implementation
    before = model.logits(model.token_tensor(TOKENS))
    run = freeze(model, TOKENS)
    with torch.no_grad():
        unmodified = fresh(input_ids=torch.tensor([TOKENS])).logits[0]
        uncapped = fresh.model(input_ids=torch.tensor([TOKENS])).last_hidden_state[0] @ fresh.lm_head.weight.T
    backwards = range(len(TOKENS) - 1, -1, -1)
    torch.testing.assert_close(run.logits_at([2, 0, 2]), uncapped[[2, 0, 2]], rtol=0, atol=1e-5)
    torch.testing.assert_close(model.capped(run.logits_at(backwards)), unmodified.flip(0), rtol=0, atol=1e-5)
    assert model.hf.config._attn_implementation == implementation == fresh.config._attn_implementation
    assert torch.equal(model.logits(model.token_tensor(TOKENS)), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.hf.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frozen_values_are_the_twins(
    tiny_model: Callable[[str], LanguageModel], seed_model: Callable[[str], SeedModel], family: str
) -> None:
    run, twin = freeze(tiny_model(family), TOKENS), seed_model(family)
    seen: dict[int, torch.Tensor] = {}

    def mlp(layer: int, u: torch.Tensor) -> torch.Tensor:
        seen[layer] = u
        return twin.mlp(layer, u)

    twin.logits(twin.embed(TOKENS), mlp)
    torch.testing.assert_close(run.embeddings.double(), twin.embed(TOKENS), rtol=0, atol=1e-6)
    for layer, frozen in enumerate(run.layers):
        gate, up = twin.gate_and_up(layer, seen[layer])
        for found, expected in (
            (frozen.mlp_input, seen[layer]), (frozen.gate, gate), (frozen.up, up),
            (frozen.hidden, twin.hidden(layer, seen[layer])), (frozen.mlp_output, twin.mlp(layer, seen[layer])),
        ):  # fmt: skip
            torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
        assert torch.allclose(frozen.attention_pattern.sum(-1), torch.ones(()), atol=1e-5)
