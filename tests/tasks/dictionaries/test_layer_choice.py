"""The layers that are meant when none are named."""

from collections.abc import Callable

import pytest

from store.errors import BadInput
from tasks.dictionaries.layer_choice import chosen_layers
from tasks.model.language_model import LanguageModel


def test_no_layers_named_means_layers_spread_over_the_model(tiny_model: Callable[[str], LanguageModel]) -> None:
    assert chosen_layers(tiny_model("llama"), "") == [0, 1, 2]
    assert chosen_layers(tiny_model("gemma2"), " ") == [0, 1, 2, 3]


def test_named_layers_are_taken_as_they_are(tiny_model: Callable[[str], LanguageModel]) -> None:
    assert chosen_layers(tiny_model("gemma2"), "0,2-3") == [0, 2, 3]
    with pytest.raises(BadInput, match="layers '7'"):
        chosen_layers(tiny_model("gemma2"), "7")
