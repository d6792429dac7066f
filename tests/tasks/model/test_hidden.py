"""Streaming h: what is read, what is left out, and that nothing runs after the last layer."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tasks.model.hidden import hidden_states, stream_hidden
from tasks.model.language_model import LanguageModel
from tests.tiny import FAMILIES


@dataclass(frozen=True)
class Batch:
    tokens: Tensor
    mask: Tensor
    documents: Tensor
    positions: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice) -> "Batch":
        return Batch(self.tokens[rows], self.mask[rows], self.documents[rows], self.positions[rows])


def batch(lengths: list[int], seed: int = 0) -> Batch:
    width = max(lengths)
    tokens = torch.randint(3, 90, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    documents = torch.arange(len(lengths))[:, None].expand(-1, width) + 10
    return Batch(tokens * mask, mask, documents, torch.arange(width).expand(len(lengths), -1) + 100)


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_is_what_the_gate_and_the_up_projection_make(
    tiny_model: Callable[[str], LanguageModel], family: str
) -> None:
    model, windows = tiny_model(family), batch([8, 8])
    inputs: dict[int, Tensor] = {}
    handles = [
        parts.mlp.register_forward_pre_hook(lambda _m, args, layer=layer: inputs.__setitem__(layer, args[0]))
        for layer, parts in enumerate(model.layers)
    ]
    model.logits(windows.tokens)
    for handle in handles:
        handle.remove()
    found = hidden_states(model, windows.tokens, windows.mask, [0, 2])
    for layer in (0, 2):
        parts, u = model.layers[layer], inputs[layer]
        by_hand = model.activation(parts.gate(u)) * parts.up(u)
        assert torch.allclose(found[layer], by_hand, atol=1e-5)


def test_padding_and_the_first_position_of_each_window_are_left_out(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    windows = batch([6, 3])
    (rows,) = stream_hidden(tiny_model("llama"), [windows], [1])
    assert rows.n_rows == 5 + 2
    assert rows.documents.tolist() == [10] * 5 + [11] * 2
    assert rows.positions.tolist() == [101, 102, 103, 104, 105, 101, 102]


def test_padding_does_not_change_what_the_text_gives(tiny_model: Callable[[str], LanguageModel]) -> None:
    model, windows = tiny_model("qwen3"), batch([6, 3])
    (together,) = stream_hidden(model, [windows], [2])
    alone = Batch(*(each[1:, :3] for each in (windows.tokens, windows.mask, windows.documents, windows.positions)))
    (single,) = stream_hidden(model, [alone], [2])
    assert torch.allclose(together.hidden[2][5:], single.hidden[2], atol=1e-5)


def test_nothing_runs_after_the_last_chosen_layer_and_no_hook_stays(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    model, ran = tiny_model("llama"), []
    handles = [
        block.register_forward_hook(lambda *_args, layer=layer: ran.append(layer))
        for layer, block in enumerate(model.blocks)
    ]
    down = model.layers[1].down.register_forward_hook(lambda *_args: ran.append(99))
    hidden_states(model, batch([5]).tokens, batch([5]).mask, [0, 1])
    assert ran == [0], "layer 1 stops before its down projection, and layer 2 never starts"
    for handle in [*handles, down]:
        handle.remove()
    assert not any(parts.down._forward_pre_hooks for parts in model.layers)


def test_an_error_inside_the_model_is_not_taken_for_the_stop(tiny_model: Callable[[str], LanguageModel]) -> None:
    model = tiny_model("llama")
    with pytest.raises(IndexError):
        hidden_states(model, torch.tensor([[10_000]]), torch.tensor([[True]]), [1])
    assert not any(parts.down._forward_pre_hooks for parts in model.layers)
