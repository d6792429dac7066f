"""Replaying from a layer on, against the library's own splice and against the unmodified model."""

from collections.abc import Callable

import pytest
import torch

from tasks.dictionaries.protocol import Site
from tasks.dictionaries.splice import Splice, spliced_logits
from tasks.model.language_model import LanguageModel
from tasks.model.replay import record
from tests.tasks.model.test_hidden import batch
from tests.tiny import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_a_replay_gives_the_logits_of_the_spliced_model(
    tiny_model: Callable[[str], LanguageModel], family: str
) -> None:
    model, windows = tiny_model(family), batch([9, 9])
    keep = windows.mask.clone()
    keep[:, 0] = False
    recording = record(model, windows.tokens, windows.mask, keep, first=1)
    for layers in ([1], [2], [1, 2]):
        splices = [
            Splice(layer, Site.MLP_HIDDEN, Site.MLP_HIDDEN, lambda read, _write: read * 0.5 + 1) for layer in layers
        ]
        expected = spliced_logits(model, windows.tokens, splices)[keep]
        found = recording.logits({layer: lambda h: h * 0.5 + 1 for layer in layers})
        assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(recording.logits({}), model.logits(windows.tokens)[keep], atol=1e-5)


def test_padding_does_not_reach_the_text(tiny_model: Callable[[str], LanguageModel]) -> None:
    model, windows = tiny_model("llama"), batch([9, 4])
    recording = record(model, windows.tokens, windows.mask, windows.mask, first=1)
    alone = model.logits(windows.tokens[1:, :4])[0]
    assert torch.allclose(recording.logits({})[9:], alone, atol=1e-5)


def test_no_hook_stays(tiny_model: Callable[[str], LanguageModel]) -> None:
    model, windows = tiny_model("llama"), batch([5])
    record(model, windows.tokens, windows.mask, windows.mask, first=0).logits({1: lambda h: h})
    modules = [*model.blocks, *(parts.down for parts in model.layers)]
    assert not any(module._forward_pre_hooks for module in modules)
