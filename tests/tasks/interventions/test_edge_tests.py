"""Edges, groups and circuits of every size, against the seed's forward pass and autograd through it."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from tasks.circuits.effect import direct_effects
from tasks.circuits.frozen import freeze
from tasks.circuits.nodes import ActiveFeatures, find_sources
from tasks.circuits.targets import FeatureTarget, LogitTarget, Target
from tasks.interventions.edge_tests import EdgeTest, measure_edges, predicted_direct_effects
from tasks.interventions.faithfulness_curve import SIZES, area, curve, values_by_size
from tasks.interventions.group_effects import measured_group_effects, predicted_group_effect
from tasks.interventions.removal import feature_values, mean_values, values_keeping, zero_values
from tasks.interventions.validation import Bench
from tasks.interventions.write_size import write_sizes
from tasks.model.language_model import LanguageModel
from tests.oracle.effects import LiveModel
from tests.oracle.effects import Target as PlainTarget
from tests.oracle.interventions import Change, features, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers, dictionary_set, plain_set
from tests.oracle.seed_model import SeedModel

TOKENS = (5, 17, 44, 3, 71, 28)
OTHERS = ((5, 17, 90, 3, 12, 28), (9, 2, 44, 31, 71, 8))
TARGET = LogitTarget(9, 5, 1.0, rival=2)
Models = Callable[[str], LanguageModel]
Twins = Callable[[str], SeedModel]
CASES = [("llama", "sae"), ("gemma2", "sae"), ("qwen3", "neurons"), ("mistral", "skip")]


def made(model: LanguageModel, kind: str, batch: int = 3) -> tuple[Bench, ActiveFeatures]:
    """A bench and what is active on its prompt; the small batch makes several blocks."""
    dictionaries = dictionary_set(kind, plain_set(kind, model))
    active = find_sources(model, freeze(model, list(TOKENS)), dictionaries).features
    return Bench(model, TOKENS, dictionaries, TARGET, batch), active


def names(active: ActiveFeatures) -> list[Place]:
    """(layer, position, index) of each."""
    return list(zip(active.layer.tolist(), active.position.tolist(), active.index.tolist(), strict=True))


def chosen_edges(active: ActiveFeatures) -> list[EdgeTest]:
    """Feature -> feature and feature -> logit edges, several of one source and of one target."""
    places = names(active)
    top = max(layer for layer, _, _ in places)
    uppers = [row for row, place in enumerate(places) if place[0] == top and place[1] == 5][:2]
    lowers = [row for row, place in enumerate(places) if place[0] == 0][3::17][:3]
    targets: list[Target] = [TARGET, LogitTarget(30, 4, 0.5)]
    targets += [FeatureTarget(top, places[row][2], places[row][1], float(active.activation[row])) for row in uppers]
    return [EdgeTest(row, target) for row in lowers for target in targets]


def edited(
    seed: SeedModel, plain: Layers, ablated: Place, held: Mapping[int, Tensor] | None
) -> tuple[Tensor, dict[int, Tensor]]:
    """(logits, pre-activations) with one feature at zero and, with `held`, every other one at its value there."""
    pre: dict[int, Tensor] = {}

    def mlp(layer: int, u: Tensor) -> Tensor:
        h = seed.hidden(layer, u)
        if layer not in plain:
            return seed.down(layer, h)
        dictionary = plain[layer]
        read, write = (h, h) if dictionary.on_hidden else (u, seed.down(layer, h))
        pre[layer] = dictionary.pre_activation(read)
        z = dictionary.encode(read)
        after = z.clone()
        if held is not None:
            after[1:] = held[layer][1:]
        if layer == ablated[0]:
            after[ablated[1], ablated[2]] = 0.0
        write = write + dictionary.decode(after) - dictionary.decode(z)
        return seed.down(layer, write) if dictionary.on_hidden else write

    with torch.no_grad():
        return seed.capped(seed.logits(seed.embed(list(TOKENS)), mlp)), pre


def target_of(target: Target, logits: Tensor, pre: dict[int, Tensor]) -> float:
    """The target's value in a run of the twin."""
    if isinstance(target, FeatureTarget):
        return float(pre[target.layer][target.position, target.index])
    row = logits[target.position]
    return float(row[target.token] - (row.mean() if target.rival is None else row[target.rival]))


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_given_edges_when_tested_then_both_numbers_are_the_seeds_forward_pass_with_the_source_removed(
    tiny_model: Models, seed_model: Twins, family: str, kind: str
) -> None:
    model, seed = tiny_model(family), seed_model(family)
    bench, active = made(model, kind)
    plain = plain_set(kind, model)
    edges = chosen_edges(active)
    found = measure_edges(bench, active, edges, feature_values(model, bench.dictionaries, TOKENS), start=1)
    clean = features(seed, list(TOKENS), plain)
    nowhere: Place = (-1, 0, 0)
    unedited = edited(seed, plain, nowhere, None)
    places = names(active)
    for number, edge in enumerate(edges):
        value = target_of(edge.target, *unedited)
        assert float(found.clean[number]) == pytest.approx(value, abs=2e-5)
        total = value - target_of(edge.target, *edited(seed, plain, places[edge.source], None))
        direct = value - target_of(edge.target, *edited(seed, plain, places[edge.source], clean))
        assert float(found.total[number]) == pytest.approx(total, abs=5e-5)
        assert float(found.direct[number]) == pytest.approx(direct, abs=5e-5)
    assert (found.total - found.direct).abs().max() > 1e-4


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_given_edges_when_predicted_then_the_total_is_the_twins_derivative_and_the_direct_one_is_the_traces(
    tiny_model: Models, seed_model: Twins, family: str, kind: str
) -> None:
    model, seed = tiny_model(family), seed_model(family)
    bench, active = made(model, kind)
    edges = [edge for edge in chosen_edges(active) if edge.target != LogitTarget(30, 4, 0.5)]
    sources = [names(active)[edge.source] for edge in edges]
    live = LiveModel(seed, list(TOKENS), plain_set(kind, model), sources)
    clean = feature_values(model, bench.dictionaries, TOKENS)
    found = measure_edges(bench, active, edges, clean, start=1).predicted_total
    direct = predicted_direct_effects(bench, active, edges, start=1)
    for number, edge in enumerate(edges):
        target = PlainTarget(9, 2)
        if isinstance(edge.target, FeatureTarget):
            target = PlainTarget(feature=(edge.target.layer, edge.target.position, edge.target.index))
        expected = float(live.effects(target)[0][number])
        assert float(found[number]) == pytest.approx(expected, abs=5e-5, rel=1e-4)
        one = active.take(torch.tensor([edge.source]))
        traced = direct_effects(
            model, TOKENS, bench.dictionaries, one, active.take(torch.tensor([], dtype=torch.long)), [edge.target]
        )
        assert float(direct[number]) == pytest.approx(float(traced.of_features[0, 0]), abs=1e-5)


@pytest.mark.parametrize(("family", "kind"), [("llama", "sae"), ("qwen3", "neurons"), ("mistral", "skip")])
def test_given_a_group_when_removed_then_gradients_along_its_scaling_predict_what_the_seed_measures(
    tiny_model: Models, seed_model: Twins, family: str, kind: str
) -> None:
    model, seed = tiny_model(family), seed_model(family)
    bench, active = made(model, kind, batch=16)
    group = active.take(torch.arange(0, len(active), max(len(active) // 12, 1)))
    plain = plain_set(kind, model)

    def value(scale: float) -> float:
        changes = {place: Change(scale, 0.0) for place in names(group)}
        logits = intervened_logits(seed, list(TOKENS), plain, changes, "delta")
        return float(logits[-1, 9] - logits[-1, 2])

    measured = float(measured_group_effects(bench, [group])[0])
    assert measured == pytest.approx(value(1.0) - value(0.0), abs=5e-5)
    steps = [(k + 0.5) / 10 for k in range(10)]
    slopes = [(value(each + 1e-4) - value(each - 1e-4)) / 2e-4 for each in steps]
    assert predicted_group_effect(bench, group) == pytest.approx(sum(slopes) / 10, abs=1e-3)
    if kind == "neurons":  # smooth: no feature switches on the way
        assert predicted_group_effect(bench, group, steps=40) == pytest.approx(
            measured, abs=0.02 * abs(measured) + 1e-3
        )


def test_given_scores_when_circuits_are_cut_then_each_size_keeps_the_largest_and_the_whole_is_the_model(
    tiny_model: Models, seed_model: Twins
) -> None:
    model, seed = tiny_model("llama"), seed_model("llama")
    bench, active = made(model, "sae")
    generator = torch.Generator().manual_seed(5)
    score = torch.randn(len(active), generator=generator)
    removed = zero_values(bench.dictionaries, len(TOKENS), model.device)
    found = values_by_size(bench, active, [score], removed, start=1)[0].tolist()
    plain = plain_set("sae", model)
    every = [
        (at, p, i)
        for at, z in features(seed, list(TOKENS), plain).items()
        for p in range(1, 6)
        for i in range(z.shape[1])
    ]
    ranked = [place for _, place in sorted(zip(score.abs().tolist(), names(active), strict=True), reverse=True)]
    for size, value in zip(SIZES, found, strict=True):
        kept = set(ranked[: int(size * len(ranked))]) if size < 1 else set(every)
        changes = {place: Change(0.0, 0.0) for place in every if place not in kept}
        logits = intervened_logits(seed, list(TOKENS), plain, changes, "delta")
        assert value == pytest.approx(float(logits[-1, 9] - logits[-1, 2]), abs=5e-5)


def test_given_known_curves_when_integrated_then_the_areas_are_mibs() -> None:
    ideal = curve([1.0] * 10, 1.0, 0.0)
    assert ideal.cpr == pytest.approx(0.999) and ideal.cmd == pytest.approx(0)
    linear = curve([3 + 2 * size for size in SIZES], 5.0, 3.0)
    assert linear.faithfulness == pytest.approx(SIZES)
    assert linear.cpr == pytest.approx((1 - 0.001**2) / 2) and linear.cmd == pytest.approx(0.999 - (1 - 0.001**2) / 2)
    above = curve([2.0] * 10, 1.0, 0.0)
    assert above.cpr == pytest.approx(2 * 0.999) and above.cmd == pytest.approx(0.999)
    assert area([0.0] * 9 + [1.0]) == pytest.approx(0.25)
    assert curve([1.0] * 10, 2.0, 2.0) == curve([5.0] * 10, 2.0, 2.0)
    assert curve([1.0] * 10, 2.0, 2.0).cpr is None


def test_given_other_prompts_when_features_are_averaged_then_it_is_by_position_and_held_so_in_the_run(
    tiny_model: Models, seed_model: Twins
) -> None:
    model, seed = tiny_model("llama"), seed_model("llama")
    bench, active = made(model, "sae")
    plain = plain_set("sae", model)
    found = mean_values(model, bench.dictionaries, OTHERS)
    there = [features(seed, list(tokens), plain) for tokens in OTHERS]
    changes: dict[Place, Change] = {}
    for layer, values in found.items():
        expected = (there[0][layer] + there[1][layer]) / 2
        assert torch.allclose(values.double(), expected, atol=1e-5)
        changes |= {
            (layer, p, i): Change(0.0, float(expected[p, i])) for p in range(1, 6) for i in range(len(expected[0]))
        }
    none = torch.zeros(1, len(active), dtype=torch.bool)
    value = values_keeping(bench, active, none, none[:, 0], found, start=1)
    logits = intervened_logits(seed, list(TOKENS), plain, changes, "delta")
    assert float(value[0]) == pytest.approx(float(logits[-1, 9] - logits[-1, 2]), abs=5e-5)


def test_given_nothing_removed_when_run_then_the_target_is_the_unmodified_models_bit_for_bit(
    tiny_model: Models,
) -> None:
    bench, active = made(tiny_model("gemma3_text"), "sae")
    everything = torch.ones(1, len(active), dtype=torch.bool)
    removed = zero_values(bench.dictionaries, len(TOKENS), bench.model.device)
    assert float(values_keeping(bench, active, everything, everything[:, 0], removed, 1)[0]) == bench.baseline()


@pytest.mark.parametrize(("family", "kind"), [("llama", "sae"), ("gemma2", "neurons"), ("mistral", "transcoder")])
def test_given_features_when_their_writes_are_sized_then_it_is_against_the_stream_between_attention_and_mlp(
    tiny_model: Models, family: str, kind: str
) -> None:
    model = tiny_model(family)
    bench, active = made(model, kind)
    streams: list[Tensor] = []
    hooks = [
        layer.mlp_norm.register_forward_pre_hook(lambda _m, inputs: streams.append(inputs[0][0].detach()))
        for layer in model.layers
    ]
    run = freeze(model, list(TOKENS))
    for hook in hooks:
        hook.remove()
    some = active.take(torch.arange(0, len(active), 7))
    sizes = write_sizes(model, run, bench.dictionaries, some)
    plain = plain_set(kind, model)
    for (layer, position, index), z, size in zip(names(some), some.activation, sizes, strict=True):
        write = plain[layer].W_dec[index].float() * z
        if plain[layer].on_hidden:
            write = model.layers[layer].down.weight.detach() @ write
        scale = run.layers[layer].mlp_output_scale
        write = write if scale is None else write * scale[position]
        assert float(size) == pytest.approx(float(write.norm() / streams[layer][position].norm()), rel=1e-4)
