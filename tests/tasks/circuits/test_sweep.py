"""The closed-form sweep against autograd through a forward pass with stop-gradients written into it."""

from collections.abc import Callable
from functools import cache

import pytest
import torch

from store.errors import Cancelled
from tasks.circuits.frozen import FrozenRun, freeze
from tasks.circuits.linearise import Rule
from tasks.circuits.nodes import Sources, find_sources
from tasks.circuits.sweep import ShareRows, Sweep
from tasks.circuits.targets import LogitTarget, logit_rows
from tasks.model.language_model import LanguageModel
from tests.oracle.linearised_model import LinearisedModel, Place, Row
from tests.oracle.plain_dictionary import KINDS, dictionary_set, plain_set
from tests.oracle.seed_model import SeedModel
from tests.tiny import FAMILIES, tiny_language_model

TOKENS = [5, 17, 44, 3, 71, 28, 60]
TOLERANCE = 1e-5
ROUNDS_TO_ZERO = 1e-6
"""GELU at a far negative gate is zero in float32 and 1e-9 in the twin."""
LOGITS = [LogitTarget(9, 6, 1.0), LogitTarget(70, 6, 1.0, rival=2)]
CASES = [
    *((family, kind) for family in FAMILIES for kind in ("neurons", "sae", "skip")),
    *((family, "transcoder") for family in ("qwen2", "gemma2")),
]
Twins = Callable[[str], SeedModel]


@cache
def frozen_run(family: str) -> FrozenRun:
    """Each family's prompt, run once."""
    return freeze(tiny_language_model(family), TOKENS)


def made(family: str, kind: str, rule: str = "ray", first: bool = False, error: bool = False) -> Sweep:
    """The sweep under test."""
    model, run = tiny_language_model(family), frozen_run(family)
    dictionaries = dictionary_set(kind, plain_set(kind, model))
    sources = find_sources(model, run, dictionaries, first_position=first, unreplaced_as_error=error)
    return Sweep(model, run, dictionaries, sources, Rule(rule))


def twin_of(seed: SeedModel, family: str, kind: str, rule: str = "ray", **options: bool | int) -> LinearisedModel:
    """Its twin."""
    start, error, through = (int(options.get("start", 1)), bool(options.get("error")), bool(options.get("through")))
    plain = plain_set(kind, tiny_language_model(family))
    return LinearisedModel(seed, TOKENS, plain, rule, start=start, unreplaced_as_error=error, through=through)


def places(sources: Sources) -> list[Place]:
    """The feature columns by name."""
    columns = (sources.features.layer, sources.features.position, sources.features.index)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def of_columns(sources: Sources, expected: Row) -> torch.Tensor:
    """The twin's feature edges in column order."""
    return torch.tensor([expected.of_features[place] for place in places(sources)]).double()


def assert_row(sweep: Sweep, rows: ShareRows, number: int, expected: Row) -> None:
    """One row, edge by edge, relative to the row's norm (or to a median row's, where its parts cancel)."""
    sources, found = sweep.sources, rows.shares[number].double()
    of_features = of_columns(sources, expected)
    twin = torch.cat([of_features, expected.of_errors.flatten(), expected.of_tokens])
    size = max(float(twin.norm()), abs(expected.value), float(rows.shares.norm(dim=1).median()))
    assert float((found - twin).abs().max()) <= TOLERANCE * size
    assert abs(float(rows.value[number]) - expected.value) <= TOLERANCE * size
    assert abs(float(rows.bias[number]) - expected.bias) <= TOLERANCE * size


def assert_closes(rows: ShareRows) -> None:
    """Every row sums to its target, and says by how much it does not.

    A row whose parts are smaller than a typical row's is held to that one's size: where a gate is itself a sum that
    cancels, float32 knows it no better.
    """
    size = rows.shares.abs().sum(1) + rows.bias.abs()
    gap = (rows.shares.double().sum(1) + rows.bias - rows.value).abs()
    assert bool((gap <= TOLERANCE * torch.maximum(size, size.median())).all())
    torch.testing.assert_close(rows.gap, gap.float())


def assert_sweep(sweep: Sweep, twin: LinearisedModel, n_rows: int = 7) -> None:
    """The same active set, some feature rows of one block of all of them, and the logits; every row closes."""
    features = sweep.sources.features
    names = places(sweep.sources)
    assert names == sorted(names)
    assert {name for name, z in twin.active.items() if abs(z) > ROUNDS_TO_ZERO} <= set(names) <= set(twin.active)
    expected = torch.tensor([twin.active[name] for name in names]).double()
    torch.testing.assert_close(features.activation.double(), expected, rtol=1e-4, atol=1e-5)
    rows = sweep.pull_back(sweep.feature_rows(features))
    assert_closes(rows)
    for number in torch.linspace(0, len(features) - 1, n_rows).long().tolist():
        assert_row(sweep, rows, number, twin.feature_row(names[number]))
    logits = sweep.pull_back(logit_rows(sweep.model, sweep.run, LOGITS))
    assert_closes(logits)
    for number, target in enumerate(LOGITS):
        assert_row(sweep, logits, number, twin.logit_row(target.token, target.rival))


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_every_edge_is_source_write_times_gradient_of_the_target(seed_model: Twins, family: str, kind: str) -> None:
    assert_sweep(made(family, kind), twin_of(seed_model(family), family, kind))


@pytest.mark.parametrize("rule", [Rule.HALF, Rule.FROZEN_GATE])
@pytest.mark.parametrize("kind", ["neurons", "sae"])
@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_the_other_rules_are_exact_too(seed_model: Twins, family: str, kind: str, rule: Rule) -> None:
    assert_sweep(made(family, kind, rule), twin_of(seed_model(family), family, kind, rule))


@pytest.mark.parametrize("family", ["mistral", "qwen2", "gemma3_text"])
def test_a_layer_without_a_dictionary_may_be_one_error_a_position(seed_model: Twins, family: str) -> None:
    sweep = made(family, "sae", error=True)
    assert_sweep(sweep, twin_of(seed_model(family), family, "sae", error=True))
    row = sweep.pull_back(logit_rows(sweep.model, sweep.run, LOGITS[:1])).shares[0]
    of_layer_one = row[sweep.sources.first_error + len(TOKENS) :][: len(TOKENS)]
    assert of_layer_one[0] == 0 and of_layer_one[-1] != 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_position_may_be_a_source(seed_model: Twins, kind: str) -> None:
    sweep = made("qwen2", kind, first=True)
    assert 0 in sweep.sources.features.position
    assert_sweep(sweep, twin_of(seed_model("qwen2"), "qwen2", kind, start=0))


@pytest.mark.parametrize("kind", ["sae", "skip"])
@pytest.mark.parametrize("family", FAMILIES)
def test_shares_along_all_paths_are_the_gradient_with_every_mlp_passing(
    seed_model: Twins, family: str, kind: str
) -> None:
    sweep = made(family, kind)
    twin = twin_of(seed_model(family), family, kind, through=True)
    rows = sweep.pull_back(logit_rows(sweep.model, sweep.run, LOGITS), through_dictionaries=True)
    for number, target in enumerate(LOGITS):
        expected = twin.logit_row(target.token, target.rival)
        found = rows.shares[number].double()
        whole = torch.cat([of_columns(sweep.sources, expected), expected.of_errors.flatten(), expected.of_tokens])
        assert float((found - whole).abs().max()) <= TOLERANCE * float(whole.norm())


@pytest.mark.parametrize("kind", ["neurons", "sae"])
def test_with_no_bias_in_the_model_tokens_alone_make_up_a_logit_along_all_paths(seed_model: Twins, kind: str) -> None:
    sweep = made("llama", kind)
    rows = sweep.pull_back(logit_rows(sweep.model, sweep.run, LOGITS), through_dictionaries=True)
    of_tokens = rows.shares[:, sweep.sources.first_token :].sum(1)
    torch.testing.assert_close(of_tokens, rows.value, rtol=1e-4, atol=1e-5)


def test_a_row_is_the_same_in_any_block(tiny_model: Callable[[str], LanguageModel]) -> None:
    sweep = made("gemma2", "skip")
    features = sweep.sources.features
    whole = sweep.pull_back(sweep.feature_rows(features))
    for block in torch.randperm(len(features), generator=torch.Generator().manual_seed(0)).split(17):
        rows = sweep.pull_back(sweep.feature_rows(features.take(block)))
        torch.testing.assert_close(rows.shares, whole.shares[block], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(rows.bias, whole.bias[block], rtol=1e-5, atol=1e-6)


def test_nothing_above_or_after_a_target_is_a_source_of_it() -> None:
    sweep = made("qwen3", "neurons")
    features = sweep.sources.features
    rows = sweep.pull_back(sweep.feature_rows(features)).shares[:, : len(features)]
    above = features.layer[None] >= features.layer[:, None]
    after = features.position[None] > features.position[:, None]
    assert bool((rows[above | after] == 0).all())
    assert float((rows[~(above | after)] != 0).float().mean()) > 0.99


def test_a_sweep_can_be_stopped_between_two_sublayers() -> None:
    sweep = made("qwen3", "sae").with_sources(made("qwen3", "sae").sources)
    seen: list[int] = []

    def stop_at_the_third() -> None:
        seen.append(1)
        if len(seen) == 3:
            raise Cancelled("stopped on request", "run it again")

    sweep.check = stop_at_the_third
    with pytest.raises(Cancelled):
        sweep.pull_back(logit_rows(sweep.model, sweep.run, LOGITS))
    assert len(seen) == 3 < 2 * sweep.model.n_layers
