"""CE and KL recovered, against the formulas over the library's own spliced logits."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tasks.dictionaries.faithfulness import Recovery, measure_recovery, replacement_past_first
from tasks.dictionaries.protocol import Site
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.dictionaries.splice import Splice, spliced_logits
from tasks.model.language_model import LanguageModel
from tests.tasks.model.test_hidden import Batch, batch


def random_autoencoder(layer: int, width: int = 48) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(layer)
    w = torch.randn(64, width, generator=generator) / width**0.5
    return SparseAutoencoder(layer, w, torch.zeros(64), w * 0.3, torch.zeros(width), 8, 64)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_recovery_is_that_of_spliced_models_on_every_next_token_but_the_first(
    tiny_model: Callable[[str], LanguageModel], family: str
) -> None:
    model, windows = tiny_model(family), batch([8, 8])
    saes = {layer: random_autoencoder(layer) for layer in (0, 2)}
    means = {layer: torch.randn(48, generator=torch.Generator().manual_seed(layer)) for layer in saes}
    by_layer, joint = measure_recovery(model, saes, means, [windows], lambda _n: None)

    def figures(splices: list[Splice]) -> tuple[float, float]:
        clean, changed = (
            each[:, 1:-1].flatten(0, 1).double().log_softmax(-1)
            for each in (model.logits(windows.tokens), spliced_logits(model, windows.tokens, splices))
        )
        following = windows.tokens[:, 2:].reshape(-1)
        ce = -sum(float(row[token]) for row, token in zip(changed, following, strict=True)) / len(following)
        return ce, float((clean.exp() * (clean - changed)).sum(1).mean())

    def constant(layer: int, value: Tensor) -> Splice:
        def change(read: Tensor, _write: Tensor) -> Tensor:
            changed = value.expand_as(read).clone()
            changed[:, 0] = read[:, 0]
            return changed

        return Splice(layer, Site.MLP_HIDDEN, Site.MLP_HIDDEN, change)

    for layers, found in (([0], by_layer[0]), ([2], by_layer[2]), ([0, 2], joint)):
        expected = {
            "replaced": figures([replacement_past_first(saes[layer]) for layer in layers]),
            "zero": figures([constant(layer, torch.zeros(48)) for layer in layers]),
            "mean": figures([constant(layer, means[layer]) for layer in layers]),
        }
        assert found.n_tokens == 12
        assert found.ce_clean == pytest.approx(figures([])[0], abs=1e-5)
        for kind, figure in expected.items():
            assert (found.ce[kind], found.kl[kind]) == pytest.approx(figure, abs=1e-4)
        zero, replaced, clean = expected["zero"][0], expected["replaced"][0], figures([])[0]
        by_hand = (zero - replaced) / (zero - clean)
        assert found.document()["ce_recovered"] == pytest.approx(by_hand, abs=1e-2)


def test_a_dictionary_that_loses_nothing_recovers_everything(tiny_model: Callable[[str], LanguageModel]) -> None:
    identity = SparseAutoencoder(
        1, torch.cat([torch.eye(48), -torch.eye(48)]), torch.zeros(96), torch.cat([torch.eye(48), -torch.eye(48)]),
        torch.zeros(48), None, 96,
    )  # fmt: skip
    (layer,), joint = measure_recovery(
        tiny_model("llama"), {1: identity}, {1: torch.zeros(48)}, [batch([9, 5])], lambda _n: None
    )
    assert layer == 1
    assert joint.document()["ce_recovered"] == pytest.approx(1.0, abs=1e-3)
    assert joint.document()["kl_recovered"] == pytest.approx(1.0, abs=1e-3)


def test_padding_is_not_counted(tiny_model: Callable[[str], LanguageModel]) -> None:
    sae = {1: random_autoencoder(1)}

    def measure(windows: list[Batch]) -> Recovery:
        return measure_recovery(tiny_model("llama"), sae, {1: torch.zeros(48)}, windows, lambda _n: None)[1]

    both, long = batch([9, 4]), batch([9, 4])
    rows = [
        type(both)(*(each[i : i + 1, :n] for each in (long.tokens, long.mask, long.documents, long.positions)))
        for i, n in ((0, 9), (1, 4))
    ]
    together, apart = measure([both]), measure(rows)
    assert together.n_tokens == apart.n_tokens == 7 + 2
    assert together.ce["replaced"] == pytest.approx(apart.ce["replaced"], abs=1e-5)
