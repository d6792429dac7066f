"""Effects against one scalar a source in a model of our own, finite differences, and the sum over paths."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tasks.circuits.effect import EffectRows, direct_effects, predicted_effects, target_values
from tasks.circuits.frozen import freeze
from tasks.circuits.nodes import ActiveFeatures, find_sources
from tasks.circuits.targets import LogitTarget, feature_target
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.model.language_model import LanguageModel
from tests.oracle.effects import LiveModel, Target
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import dictionary_set, plain_set
from tests.oracle.seed_model import SeedModel
from tests.tiny import FAMILIES

TOKENS = [5, 17, 44, 3, 71, 28]
TARGET, TWIN_TARGET = LogitTarget(9, 5, 1.0, rival=2), Target(9, rival=2)
TOLERANCE = 1e-5
CASES = [
    *((family, kind) for family in FAMILIES for kind in ("sae", "skip")),
    *((family, kind) for family in ("qwen2", "gemma3_text") for kind in ("neurons", "transcoder")),
]
Models = Callable[[str], LanguageModel]
Twins = Callable[[str], SeedModel]


def made(model: LanguageModel, kind: str, tokens: list[int] = TOKENS) -> tuple[DictionarySet, ActiveFeatures]:
    """Dictionaries and what is active."""
    dictionaries = dictionary_set(kind, plain_set(kind, model))
    return dictionaries, find_sources(model, freeze(model, tokens), dictionaries).features


def places(features: ActiveFeatures) -> list[Place]:
    """The features by name."""
    columns = (features.layer, features.position, features.index)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Within 1e-5 of the largest entry."""
    assert float((found.double() - expected).abs().max()) <= TOLERANCE * max(float(expected.abs().max()), 0.1)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_predicted_effects_are_derivatives_in_the_live_model(
    tiny_model: Models, seed_model: Twins, family: str, kind: str
) -> None:
    model = tiny_model(family)
    dictionaries, features = made(model, kind)
    found = predicted_effects(model, TOKENS, dictionaries, features, TARGET)
    live = LiveModel(seed_model(family), TOKENS, plain_set(kind, model), places(features))
    assert_close(found, live.effects(TWIN_TARGET)[0])
    for source in found.abs().topk(2).indices.tolist():
        difference = live.central_difference(TWIN_TARGET, source)
        assert abs(difference - float(found[source])) <= 1e-5 * max(abs(difference), 1.0)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_direct_effects_are_derivatives_with_the_other_features_held(
    tiny_model: Models, seed_model: Twins, family: str, kind: str
) -> None:
    model = tiny_model(family)
    dictionaries, features = made(model, kind)
    targets = features.take(torch.linspace(0, len(features) - 1, 4).long())
    found = direct_effects(model, TOKENS, dictionaries, features, targets, [TARGET], batch=3)
    live = LiveModel(seed_model(family), TOKENS, plain_set(kind, model), places(features))
    for row, target in enumerate([*(Target(feature=place) for place in places(targets)), TWIN_TARGET]):
        of_sources, of_tokens = live.effects(target, held_from=1)
        assert_close(found.of_features[row], of_sources)
        assert_close(found.of_tokens[row], of_tokens)


def along_all_paths(direct: EffectRows, features: ActiveFeatures) -> Tensor:
    """The logit's effects when every path counts: P = E[logit] + Σ_t P[t]/z[t] E[t], solved as a linear system."""
    between, to_logit = direct.of_features[:-1].double(), direct.of_features[-1].double()
    step = between / features.activation.double()[:, None]
    total: Tensor = torch.linalg.solve(torch.eye(len(step)).double() - step.T, to_logit)
    return total


@pytest.mark.parametrize(("family", "kind"), [("llama", "sae"), *((family, "skip") for family in FAMILIES)])
def test_sums_over_paths_of_direct_effects_are_the_predicted_effects(
    tiny_model: Models, family: str, kind: str
) -> None:
    model = tiny_model(family)
    dictionaries, features = made(model, kind)
    direct = direct_effects(model, TOKENS, dictionaries, features, features, [TARGET], batch=64)
    total = predicted_effects(model, TOKENS, dictionaries, features, TARGET)
    assert_close(total, along_all_paths(direct, features))


def test_sums_over_paths_hold_for_neurons_too(tiny_model: Models) -> None:
    model = tiny_model("qwen3")
    tokens, target = TOKENS[:3], LogitTarget(9, 2, 1.0, rival=2)
    dictionaries, features = made(model, "neurons", tokens)
    direct = direct_effects(model, tokens, dictionaries, features, features, [target], batch=64)
    total = predicted_effects(model, tokens, dictionaries, features, target)
    assert_close(total, along_all_paths(direct, features))


def test_effects_do_not_depend_on_the_batch_nor_on_the_other_sources(tiny_model: Models) -> None:
    model = tiny_model("gemma2")
    dictionaries, features = made(model, "sae")
    some = torch.tensor([3, 20, 41, len(features) - 1])
    told: list[float] = []
    whole = direct_effects(model, TOKENS, dictionaries, features, features.take(some), [TARGET])
    parts = direct_effects(
        model, TOKENS, dictionaries, features.take(some), features.take(some), [TARGET], batch=2, advance=told.append
    )
    assert_close(parts.of_features, whole.of_features[:, some].double())
    assert_close(parts.of_tokens, whole.of_tokens.double())
    assert told == [2, 2, 1]


def test_a_mean_centred_target_is_a_target_too(tiny_model: Models, seed_model: Twins) -> None:
    model = tiny_model("llama")
    dictionaries, features = made(model, "sae")
    found = predicted_effects(model, TOKENS, dictionaries, features, LogitTarget(9, 5, 1.0))
    live = LiveModel(seed_model("llama"), TOKENS, plain_set("sae", model), places(features))
    assert_close(found, live.effects(Target(9))[0])


@pytest.mark.parametrize(("family", "kind"), [("qwen3", "sae"), ("gemma2", "transcoder"), ("llama", "skip")])
def test_a_feature_is_a_target_too(tiny_model: Models, seed_model: Twins, family: str, kind: str) -> None:
    model = tiny_model(family)
    dictionaries, features = made(model, kind)
    row = int(((features.layer == features.layer.max()) & (features.position == 4)).nonzero()[0])
    place = places(features)[row]
    target = feature_target(features, place[0], place[2], place[1])
    live = LiveModel(seed_model(family), TOKENS, plain_set(kind, model), places(features))
    found = predicted_effects(model, TOKENS, dictionaries, features, target)
    assert_close(found, live.effects(Target(feature=place))[0])
    direct = direct_effects(model, TOKENS, dictionaries, features, features.take(torch.tensor([row])), [target])
    assert_close(direct.of_features[1], direct.of_features[0].double())


def test_the_value_of_a_feature_in_a_live_run_is_its_pre_activation(tiny_model: Models) -> None:
    model = tiny_model("qwen2")
    dictionaries, features = made(model, "sae")
    last = features.take(torch.tensor([len(features) - 1]))
    target = feature_target(features, int(last.layer), int(last.index), int(last.position))
    value = target_values(model, model.token_tensor(TOKENS), dictionaries, [], target)
    torch.testing.assert_close(value, last.activation, rtol=1e-5, atol=1e-6)
