"""Edits with attention frozen, and direct effects, against the seed's forward pass written out (METHOD §5)."""

from collections.abc import Callable, Mapping

import nnsight
import pytest
import torch
from torch import Tensor

from store.errors import BadInput
from tasks.circuits.targets import FeatureTarget, LogitTarget, Target
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.interventions.intervene import Spelling, edit_splices, edited_logits, measure_each, measure_targets
from tasks.interventions.regime import Freeze, hold_attention, parse_freeze
from tasks.model.language_model import LanguageModel
from tests.oracle.interventions import Change, HeldSeed, Outcome, direct_outcome, intervened
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers
from tests.oracle.seed_model import SeedModel
from tests.tasks.interventions.test_intervene import (
    CASES,
    TOKENS,
    active_places,
    assert_close,
    each_operation,
    made,
    table,
)
from tests.tiny import FAMILIES

Models = Callable[[str], LanguageModel]
Twins = Callable[[str], SeedModel]
SOME = ("ablate", "scale", "swap", "mixed")
HELD = (Freeze.ATTENTION, Freeze.DIRECT)


def outcome(model: LanguageModel, plain: Layers, changes: Mapping[Place, Change], freeze: Freeze) -> Outcome:
    """The twin's."""
    if freeze is Freeze.DIRECT:
        return direct_outcome(SeedModel(model.hf), TOKENS, plain, changes)
    seed = HeldSeed(model.hf, TOKENS) if freeze is Freeze.ATTENTION else SeedModel(model.hf)
    return intervened(seed, TOKENS, plain, changes, "delta")


@pytest.mark.parametrize("freeze", HELD)
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_given_what_is_frozen_when_features_are_edited_then_logits_are_the_twins(
    tiny_model: Models, seed_model: Twins, family: str, kind: str, freeze: Freeze
) -> None:
    model = tiny_model(family)
    dictionaries, plain = made(model, kind)
    operations = each_operation(seed_model(family), plain)
    live = model.logits(model.token_tensor(TOKENS))[0]
    for name in SOME:
        found = edited_logits(model, TOKENS, dictionaries, table(operations[name]), 1, freeze=freeze)[0]
        assert_close(found, outcome(model, plain, operations[name], freeze).logits)
        assert float((found - live).abs().max()) > 1e-3


@pytest.mark.parametrize("freeze", list(Freeze))
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_when_many_edits_are_measured_on_many_targets_then_each_is_the_twins(
    tiny_model: Models, seed_model: Twins, family: str, kind: str, freeze: Freeze
) -> None:
    model = tiny_model(family)
    dictionaries, plain = made(model, kind)
    operations = [each_operation(seed_model(family), plain)[name] for name in SOME]
    targets: list[Target] = [
        LogitTarget(9, len(TOKENS) - 1, 1.0),
        *(FeatureTarget(layer, index, at, 0.0) for layer in plain for index in (0, 7, 31) for at in (3, 6)),
        LogitTarget(4, 3, 1.0, rival=20),
    ]
    found = measure_targets(
        model, TOKENS, dictionaries, [table(changes) for changes in operations], targets, batch=3, freeze=freeze
    )
    for row, changes in enumerate(operations):
        twin = outcome(model, plain, changes, freeze)
        for column, target in enumerate(targets):
            if isinstance(target, LogitTarget):
                expected = target.value(twin.logits)
            else:
                expected = twin.pre_activations[target.layer][target.position, target.index]
            assert abs(float(found[row, column]) - float(expected)) <= 2e-5 * max(1.0, abs(float(expected)))


def test_given_frozen_attention_when_the_replacement_model_runs_then_its_patterns_are_the_unmodified_models(
    tiny_model: Models,
) -> None:
    for family in FAMILIES:
        model = tiny_model(family)
        dictionaries, plain = made(model, "skip")
        found = edited_logits(model, TOKENS, dictionaries, table({}), 1, Spelling.REPLACE, Freeze.ATTENTION)[0]
        assert_close(found, intervened(HeldSeed(model.hf, TOKENS), TOKENS, plain, {}, "replace").logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("freeze", list(Freeze))
def test_given_no_edit_then_logits_are_the_unmodified_models_bitwise(
    tiny_model: Models, family: str, freeze: Freeze
) -> None:
    model = tiny_model(family)
    dictionaries, plain = made(model, "skip")
    unmodified = model.logits(model.token_tensor(TOKENS).expand(2, -1))
    ones = {(layer, at, 3): Change(1.0, 0.0) for layer in plain for at in range(len(TOKENS))}
    for changes in ({}, ones):
        found = edited_logits(model, TOKENS, dictionaries, table(changes), 2, freeze=freeze)
        assert torch.equal(found, unmodified)


@pytest.mark.parametrize("family", FAMILIES)
def test_given_held_attention_when_values_did_not_move_then_it_is_the_models_own_bitwise(
    tiny_model: Models, family: str
) -> None:
    for layer in hold_attention(tiny_model(family), TOKENS):
        again = layer.with_values(layer.values[None], layer.mixed[None])
        assert torch.equal(again[0], layer.mixed)


def test_given_generated_tokens_when_attention_is_frozen_then_only_the_prompts_patterns_are(
    tiny_model: Models, seed_model: Twins
) -> None:
    for family in ("mistral", "gemma2"):
        model = tiny_model(family)
        dictionaries, plain = made(model, "sae")
        changes = {**each_operation(seed_model(family), plain)["scale"], (0, 8, 3): Change(1.0, 2.0)}
        text = [*TOKENS, 11, 80, 2]
        found = edited_logits(model, text, dictionaries, table(changes), 1, freeze=Freeze.ATTENTION, n_prompt=7)[0]
        expected = intervened(HeldSeed(model.hf, TOKENS), text, plain, changes, "delta").logits
        assert_close(found, expected)
        live = edited_logits(model, text, dictionaries, table(changes), 1)[0]
        assert float((found - live).abs().max()) > 1e-3


def test_given_one_row_of_many_is_edited_then_the_others_stay_under_every_freeze(
    tiny_model: Models, seed_model: Twins
) -> None:
    model = tiny_model("gemma3_text")
    dictionaries, plain = made(model, "transcoder")
    changes = each_operation(seed_model("gemma3_text"), plain)["scale"]
    unmodified = model.logits(model.token_tensor(TOKENS))[0]
    for freeze in Freeze:
        logits = edited_logits(model, TOKENS, dictionaries, table(changes, row=1), 3, freeze=freeze)
        torch.testing.assert_close(logits[0], unmodified, rtol=0, atol=1e-5)
        torch.testing.assert_close(logits[2], unmodified, rtol=0, atol=1e-5)
        assert float((logits[1] - unmodified).abs().max()) > 1e-2


def test_direct_effects_of_several_edits_add_up(tiny_model: Models, seed_model: Twins) -> None:
    model = tiny_model("qwen3")
    dictionaries, plain = made(model, "skip")
    changes = each_operation(seed_model("qwen3"), plain)["scale"]
    target = LogitTarget(9, len(TOKENS) - 1, 1.0, rival=4)
    rows = [table({}), table(changes), *(table({place: change}) for place, change in changes.items())]
    nothing, together, *alone = measure_each(model, TOKENS, dictionaries, rows, target, freeze=Freeze.DIRECT).tolist()
    assert together - nothing == pytest.approx(sum(each - nothing for each in alone), abs=1e-5)
    live = measure_each(model, TOKENS, dictionaries, rows[1:2], target)
    assert abs(together - float(live)) > 1e-3


def by_tracing(model: LanguageModel, dictionaries: DictionarySet, place: Place, value: float, freeze: Freeze) -> Tensor:
    """The feature set to `value`, with nnsight's own tracing: patterns read in one trace, put into another."""
    traced, inputs = model.nnsight, {"input_ids": model.token_tensor(TOKENS), "use_cache": False}
    at, position, index = place
    layers = traced.model.layers
    with torch.no_grad(), model.readable_attention():
        with traced.trace(inputs):
            kept = nnsight.save([])
            for i in range(model.n_layers):
                kept.append(layers[i].self_attn.output[1])
        with traced.trace(inputs):
            for i in range(model.n_layers):
                values = layers[i].self_attn.v_proj.output.unflatten(-1, (2, 8)).repeat_interleave(2, 2)
                if freeze is Freeze.ATTENTION:
                    layers[i].self_attn.o_proj.input = torch.einsum("bhqk,bkhe->bqhe", kept[i], values).flatten(2)
                if i == at:
                    read = layers[i].mlp.input
                    z = dictionaries[i].encode(read[0, position])[index]
                    written = layers[i].mlp.output.clone()
                    written[0, position] += (value - z) * dictionaries[i].write_vectors(torch.tensor([index]))[0]
                    layers[i].mlp.output = written
            logits = traced.output.logits.save()
    result: Tensor = logits
    return result[0]


@pytest.mark.parametrize("freeze", [Freeze.NONE, Freeze.ATTENTION])
def test_nnsights_own_tracing_gives_the_same_logits(tiny_model: Models, seed_model: Twins, freeze: Freeze) -> None:
    model = tiny_model("qwen3")
    dictionaries, plain = made(model, "transcoder")
    place = next(each for each in active_places(seed_model("qwen3"), plain) if each[:2] == (1, 3))
    found = edited_logits(model, TOKENS, dictionaries, table({place: Change(0.0, 4.0)}), 1, freeze=freeze)[0]
    torch.testing.assert_close(found, by_tracing(model, dictionaries, place, 4.0, freeze), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "freeze"),
    [
        ("none", Freeze.NONE),
        ("attention", Freeze.ATTENTION),
        ("direct", Freeze.DIRECT),
        ("attention,norms,mlps", Freeze.DIRECT),
        ("mlps, attention, norms", Freeze.DIRECT),
    ],
)
def test_what_is_frozen_has_a_name_or_is_the_sum_of_its_parts(text: str, freeze: Freeze) -> None:
    assert parse_freeze(text) is freeze


@pytest.mark.parametrize("text", ["norms", "attention,norms"])
def test_norms_alone_are_refused_with_the_reason(text: str) -> None:
    with pytest.raises(BadInput, match="without renormalisation an edit grows without bound") as error:
        parse_freeze(text)
    assert "direct" in error.value.mend


@pytest.mark.parametrize("text", ["", "mlps", "attention,mlps", "norms,mlps", "Attention", "weights"])
def test_other_combinations_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="direct"):
        parse_freeze(text)


def test_direct_effects_of_the_replacement_model_are_refused(tiny_model: Models) -> None:
    model = tiny_model("llama")
    dictionaries, _ = made(model, "sae")
    with pytest.raises(BadInput, match="replace"):
        edited_logits(model, TOKENS, dictionaries, table({}), 1, Spelling.REPLACE, Freeze.DIRECT)
    with pytest.raises(BadInput, match="replace"):
        measure_each(
            model, TOKENS, dictionaries, [], LogitTarget(0, 0, 1.0), spelling=Spelling.REPLACE, freeze=Freeze.DIRECT
        )


def test_one_times_a_feature_plus_nothing_is_no_edit_of_the_unmodified_model_alone(tiny_model: Models) -> None:
    dictionaries, plain = made(tiny_model("llama"), "sae")
    ones = table({(0, 1, 3): Change(1.0, 0.0)})
    assert edit_splices(dictionaries, ones) == []
    assert len(edit_splices(dictionaries, ones, Spelling.REPLACE)) == len(plain)
