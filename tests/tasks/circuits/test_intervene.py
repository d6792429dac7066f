"""Edits in the real model against the seed's forward pass written out (seed §9-§11)."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from tasks.circuits.edits import Edits
from tasks.circuits.intervene import Spelling, edited_logits, measure_each
from tasks.circuits.targets import LogitTarget
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.splice import replacement, spliced_logits
from tasks.model.language_model import LanguageModel
from tests.oracle.interventions import Change, features, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers, dictionary_set, plain_set
from tests.oracle.seed_model import SeedModel
from tests.tiny import FAMILIES

TOKENS = [5, 17, 44, 3, 71, 28, 60]
OTHER = [5, 17, 90, 3, 12, 28, 60]
Models = Callable[[str], LanguageModel]
Twins = Callable[[str], SeedModel]
CASES = [
    *((family, kind) for family in FAMILIES for kind in ("sae", "skip")),
    *((family, kind) for family in ("qwen2", "gemma2") for kind in ("neurons", "transcoder")),
]


def table(changes: Mapping[Place, Change], row: int = 0) -> Edits:
    """Named changes as a table of edits."""
    names = torch.tensor(list(changes), dtype=torch.long).reshape(len(changes), 3)
    multiply = torch.tensor([change.multiply for change in changes.values()])
    add = torch.tensor([change.add for change in changes.values()])
    return Edits(torch.full_like(names[:, 0], row), names[:, 0], names[:, 1], names[:, 2], multiply, add)


def active_places(seed: SeedModel, plain: Layers) -> list[Place]:
    """Every active feature of the prompt; the first ones are in the first layer."""
    z = features(seed, TOKENS, plain)
    return [(layer, at, index) for layer in sorted(z) for at, index in z[layer].nonzero().tolist()]


def each_operation(seed: SeedModel, plain: Layers) -> dict[str, dict[Place, Change]]:
    """One set of changes an operation, over several layers and positions."""
    active, there = active_places(seed, plain), features(seed, OTHER, plain)
    some = active[:: len(active) // 8]
    last = max(plain)
    whole_layer = {
        (last, at, index): Change(0.0, float(there[last][at, index]))
        for at in range(len(TOKENS))
        for index in range(there[last].shape[1])
    }
    return {
        "nothing": {},
        "ablate": {place: Change(0.0, 0.0) for place in some},
        "scale": {place: Change(-2.5, 0.0) for place in some},
        "steer": {(layer, at, index): Change(1.0, 1.5) for layer, at, index in [*some, (0, 0, 1), (last, 6, 39)]},
        "swap": {place: Change(0.0, float(there[place[0]][place[1], place[2]])) for place in some},
        "swap a whole layer": whole_layer,
        "mixed": {some[0]: Change(0.0, 0.0), some[3]: Change(3.0, 0.0), some[-1]: Change(1.0, -2.0)},
    }


def made(model: LanguageModel, kind: str) -> tuple[DictionarySet, Layers]:
    """The same dictionaries, ours and the twin's."""
    plain = plain_set(kind, model)
    return dictionary_set(kind, plain), plain


def assert_close(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest logit."""
    assert float((found.double() - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("spelling", list(Spelling))
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_edits_do_what_the_seeds_forward_pass_does(
    tiny_model: Models, seed_model: Twins, family: str, kind: str, spelling: Spelling
) -> None:
    model, seed = tiny_model(family), seed_model(family)
    dictionaries, plain = made(model, kind)
    for changes in each_operation(seed, plain).values():
        found = edited_logits(model, TOKENS, dictionaries, table(changes), 1, spelling)[0]
        assert_close(found, intervened_logits(seed, TOKENS, plain, changes, spelling))


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_replacement_model_is_the_seeds(tiny_model: Models, seed_model: Twins, family: str, kind: str) -> None:
    model, seed = tiny_model(family), seed_model(family)
    dictionaries, plain = made(model, kind)
    splices = [replacement(dictionary) for dictionary in dictionaries.layers.values()]
    with torch.no_grad():
        found = spliced_logits(model, model.token_tensor(TOKENS), splices)[0]
    expected = intervened_logits(seed, TOKENS, plain, {}, "replace")
    assert_close(found, expected)
    unmodified = model.logits(model.token_tensor(TOKENS))[0]
    assert torch.allclose(found, unmodified, atol=1e-5) is (kind == "neurons")


@pytest.mark.parametrize("family", FAMILIES)
def test_no_edit_under_delta_is_the_unmodified_model_bitwise(tiny_model: Models, family: str) -> None:
    model = tiny_model(family)
    dictionaries, plain = made(model, "sae")
    unmodified = model.logits(model.token_tensor(TOKENS))
    nothing = edited_logits(model, TOKENS, dictionaries, table({}), 1)
    ones = {(layer, at, 3): Change(1.0, 0.0) for layer in plain for at in range(len(TOKENS))}
    assert torch.equal(nothing, unmodified)
    assert torch.equal(edited_logits(model, TOKENS, dictionaries, table(ones), 1), unmodified)
    assert torch.equal(spliced_logits(model, model.token_tensor(TOKENS), []), unmodified)


@pytest.mark.parametrize("kind", ["sae", "skip", "neurons"])
def test_edits_in_one_batch_are_edits_one_at_a_time(tiny_model: Models, seed_model: Twins, kind: str) -> None:
    model = tiny_model("gemma3_text")
    dictionaries, plain = made(model, kind)
    operations = each_operation(seed_model("gemma3_text"), plain)
    rows = [table(changes, row=9) for changes in operations.values()]

    def measure(logits: Tensor) -> Tensor:
        return logits[:, -1, 9] - logits[:, -1].mean(-1)

    told: list[float] = []
    target = LogitTarget(9, len(TOKENS) - 1, 1.0)
    together = measure_each(model, TOKENS, dictionaries, rows, target, batch=3, advance=told.append)
    alone = [measure(edited_logits(model, TOKENS, dictionaries, table(each), 1)) for each in operations.values()]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)
    assert sum(told) == len(rows) and len(set(together.tolist())) == len(rows)


def test_an_edit_of_one_row_leaves_the_other_rows_alone(tiny_model: Models, seed_model: Twins) -> None:
    model = tiny_model("llama")
    dictionaries, plain = made(model, "sae")
    changes = each_operation(seed_model("llama"), plain)["steer"]
    for spelling in Spelling:
        logits = edited_logits(model, TOKENS, dictionaries, table(changes, row=1), 3, spelling)
        untouched = edited_logits(model, TOKENS, dictionaries, table({}), 1, spelling)[0]
        assert torch.allclose(logits[0], untouched, atol=1e-5) and torch.allclose(logits[2], untouched, atol=1e-5)
        assert not torch.allclose(logits[1], untouched, atol=1e-2)


def test_an_edit_does_not_reach_back_in_time(tiny_model: Models, seed_model: Twins) -> None:
    model = tiny_model("qwen3")
    dictionaries, plain = made(model, "sae")
    place = next(place for place in active_places(seed_model("qwen3"), plain) if place[1] == 4)
    edited = edited_logits(model, TOKENS, dictionaries, table({place: Change(0.0, 5.0)}), 1)[0]
    unmodified = model.logits(model.token_tensor(TOKENS))[0]
    torch.testing.assert_close(edited[:4], unmodified[:4], rtol=0, atol=1e-6)
    assert bool(((edited[4:] - unmodified[4:]).abs().max(-1).values > 1e-3).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_hooks_are_nnsight(tiny_model: Models, family: str) -> None:
    model = tiny_model(family)
    dictionaries, _ = made(model, "sae")
    splices = [replacement(dictionary) for dictionary in dictionaries.layers.values()]
    tokens = model.token_tensor(TOKENS)

    def replaced(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
        dictionary = dictionaries[layer]
        return lambda _module, inputs: (dictionary.decode(dictionary.encode(inputs[0])),)

    hooks = [model.layers[layer].down.register_forward_pre_hook(replaced(layer)) for layer in dictionaries.layers]
    try:
        hooked = model.logits(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        assert torch.equal(spliced_logits(model, tokens, splices), hooked)
