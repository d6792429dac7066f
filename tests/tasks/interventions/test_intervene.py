"""Edits in the real model against the seed's forward pass written out (seed §9-§11)."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from store.errors import WorkbenchError
from tasks.circuits.targets import FeatureTarget, LogitTarget, Target
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Dictionary
from tasks.dictionaries.splice import Splice, replacement, spliced_logits
from tasks.interventions.edits import Edits
from tasks.interventions.intervene import Spelling, edit_splices, edited_logits, measure_each, measure_targets
from tasks.interventions.regime import Freeze
from tasks.interventions.resume import PromptRun
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


@pytest.mark.parametrize("spelling", list(Spelling))
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_runs_that_start_at_the_first_edited_layer_are_whole_runs(
    tiny_model: Models, seed_model: Twins, family: str, kind: str, spelling: Spelling
) -> None:
    model = tiny_model(family)
    dictionaries, plain = made(model, kind)
    target = LogitTarget(9, len(TOKENS) - 1, 1.0, rival=30)
    late = [place for place in active_places(seed_model(family), plain) if place[0] == max(plain)][:3]
    for changes in [*each_operation(seed_model(family), plain).values(), {place: Change(0.0, 1.0) for place in late}]:
        shared = measure_each(model, TOKENS, dictionaries, [table(changes)], target, spelling=spelling)
        whole = edited_logits(model, TOKENS, dictionaries, table(changes), 1, spelling)
        torch.testing.assert_close(shared, target.value(whole), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("freeze", [Freeze.NONE, Freeze.ATTENTION])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_runs_that_start_at_the_first_edited_position_are_whole_runs(
    tiny_model: Models, seed_model: Twins, family: str, attention: str, freeze: Freeze
) -> None:
    model = tiny_model(family)
    before = model.hf.config._attn_implementation
    if family == "gemma2" and attention == "sdpa":
        attention = before  # transformers has no soft cap there
    dictionaries, plain = made(model, "skip")
    last, fifth = LogitTarget(9, -1, 1.0, rival=30), LogitTarget(9, 5, 1.0)
    targets: list[Target] = [last, fifth, FeatureTarget(2, 7, 5, 0.0)]
    late = [place for place in active_places(seed_model(family), plain) if place[1] >= 4]
    rows = [table({place: Change(0.0, 2.0)}) for place in late[::4]]
    model.hf.set_attn_implementation(attention)
    try:
        assert PromptRun.of(model, TOKENS).first_shared(torch.tensor([4, 6]), targets) == 4
        shared = measure_targets(model, TOKENS, dictionaries, rows, targets, freeze=freeze)
        whole = torch.cat([edited_logits(model, TOKENS, dictionaries, row, 1, freeze=freeze) for row in rows])
        first = [PromptRun.of(model, TOKENS).targets(dictionaries, edit_splices(dictionaries, row), 1, targets[2:])
                 for row in rows]  # fmt: skip
    finally:
        model.hf.set_attn_implementation(before)
    torch.testing.assert_close(shared[:, 0], last.value(whole), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shared[:, 1], fifth.value(whole), rtol=1e-5, atol=1e-5)
    if freeze is Freeze.NONE:
        torch.testing.assert_close(shared[:, 2:], torch.cat(first), rtol=1e-5, atol=1e-5)
    assert len({round(value, 4) for value in shared[:, 0].tolist()}) > len(rows) // 2


@pytest.mark.parametrize("freeze", list(Freeze))
def test_edits_that_give_each_feature_its_own_value_change_nothing(
    tiny_model: Models, seed_model: Twins, freeze: Freeze
) -> None:
    model = tiny_model("gemma2")
    dictionaries, plain = made(model, "sae")
    z = features(seed_model("gemma2"), TOKENS, plain)
    active = active_places(seed_model("gemma2"), plain)
    unmodified = model.logits(model.token_tensor(TOKENS))[0]
    value = {place: float(z[place[0]][place[1], place[2]]) for place in active}
    from_itself = table({place: Change(0.0, value[place]) for place in active})
    ablated = table({place: Change(0.0, 0.0) for place in active[::5]})
    restored = Edits.join([ablated, table({place: Change(1.0, value[place]) for place in active[::5]})])
    for nothing in (from_itself, restored):
        found = edited_logits(model, TOKENS, dictionaries, nothing, 1, freeze=freeze)[0]
        torch.testing.assert_close(found, unmodified, rtol=1e-5, atol=1e-5)
    cut = edited_logits(model, TOKENS, dictionaries, ablated, 1, freeze=freeze)[0]
    assert float((cut - unmodified).abs().max()) > 1e-2


def test_ablating_every_feature_leaves_bias_and_error_alone(tiny_model: Models, seed_model: Twins) -> None:
    model = tiny_model("gemma3_text")
    dictionaries, plain = made(model, "sae")
    everything = table({place: Change(0.0, 0.0) for place in every_place(plain)})
    found = edited_logits(model, TOKENS, dictionaries, everything, 1)[0]

    def without(dictionary: Dictionary) -> Splice:
        def change(read: Tensor, write: Tensor) -> Tensor:
            return write - dictionary.decode(dictionary.encode(read)) + dictionary.write_bias

        return Splice(dictionary.layer, dictionary.reads, dictionary.writes, change)

    with torch.no_grad():
        splices = [without(dictionary) for dictionary in dictionaries.layers.values()]
        expected = spliced_logits(model, model.token_tensor(TOKENS), splices)[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_swapping_every_neuron_makes_every_mlp_write_what_it_writes_in_the_corrupt_run(tiny_model: Models) -> None:
    model = tiny_model("qwen3")
    dictionaries, plain = made(model, "neurons")
    there = features(SeedModel(model.hf), OTHER, plain)
    places = every_place(plain)
    swap = table({(layer, at, index): Change(0.0, float(there[layer][at, index])) for layer, at, index in places})
    written: list[Tensor] = []
    hooks = [layer.mlp.register_forward_hook(lambda *seen: written.append(seen[-1][0])) for layer in model.layers]
    try:
        edited_logits(model, TOKENS, dictionaries, swap, 1)
        model.logits(model.token_tensor(OTHER))
        model.logits(model.token_tensor(TOKENS))
    finally:
        for hook in hooks:
            hook.remove()
    swapped, corrupt, clean = torch.stack(written).unflatten(0, (3, -1))
    torch.testing.assert_close(swapped, corrupt, rtol=1e-5, atol=1e-5)
    assert float((clean - corrupt).abs().max()) > 0.1


def every_place(plain: Layers) -> list[Place]:
    """Every feature at every position, active or not."""
    return [
        (layer, at, index)
        for layer, dictionary in plain.items()
        for at in range(len(TOKENS))
        for index in range(len(dictionary.b_enc))
    ]


class Hungry:
    """A dictionary that asks the allocator for more than there is where more than `most` places are edited at once."""

    def __init__(self, inner: Dictionary, most: int, error: type[RuntimeError] | None = None) -> None:
        self.inner = inner
        self.most = most
        self.error = error
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        if len(x) > self.most:
            if self.error is not None:
                raise self.error("out of memory")
            torch.empty(2**55)
        return self.inner.encode(x)


def hungry(model: LanguageModel, most: int, error: type[RuntimeError] | None) -> tuple[Hungry, DictionarySet]:
    """The SAEs of a model, the one in the last layer hungry."""
    dictionaries, plain = made(model, "sae")
    one = Hungry(dictionaries[max(plain)], most, error)
    return one, DictionarySet("hungry", {**dictionaries.layers, max(plain): cast("Dictionary", one)})


@pytest.mark.parametrize("freeze", list(Freeze))
@pytest.mark.parametrize("error", [None, torch.OutOfMemoryError])
def test_given_too_little_memory_when_many_edits_are_measured_then_batches_are_halved_and_numbers_are_the_same(
    tiny_model: Models, freeze: Freeze, error: type[RuntimeError] | None
) -> None:
    model = tiny_model("llama")
    dictionaries, plain = made(model, "sae")
    last, target = max(plain), LogitTarget(9, len(TOKENS) - 1, 1.0)
    rows = [table({(last, len(TOKENS) - 1, i): Change(0.0, 1.0 + i)}) for i in range(13)]
    expected = measure_each(model, TOKENS, dictionaries, rows, target, batch=8, freeze=freeze)
    narrow, narrow_set = hungry(model, 2, error)
    told: list[float] = []
    found = measure_each(model, TOKENS, narrow_set, rows, target, batch=8, freeze=freeze, advance=told.append)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert len(set(found.tolist())) == 13
    assert narrow.asked == [8, 4, 2, 2, 2, 2, 2, 2, 1] and told == [2, 2, 2, 2, 2, 2, 1]


def test_given_one_edit_does_not_fit_then_the_error_says_what_to_do(tiny_model: Models) -> None:
    model = tiny_model("llama")
    _, dictionaries = hungry(model, 0, None)
    row = table({(max(dictionaries.layers), 2, 5): Change(0.0, 1.0)})
    with pytest.raises(WorkbenchError, match="not enough memory") as error:
        measure_each(model, TOKENS, dictionaries, [row] * 5, LogitTarget(9, 6, 1.0))
    assert error.value.exit_code == 1 and "shorten the prompt" in error.value.mend


def test_given_another_failure_then_it_is_not_taken_for_lack_of_memory(tiny_model: Models) -> None:
    model = tiny_model("llama")
    _, dictionaries = hungry(model, 0, RuntimeError)
    row = table({(max(dictionaries.layers), 2, 5): Change(0.0, 1.0)})
    with pytest.raises(RuntimeError, match="out of memory"):
        measure_each(model, TOKENS, dictionaries, [row] * 2, LogitTarget(9, 6, 1.0))
