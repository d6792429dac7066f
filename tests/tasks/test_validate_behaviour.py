"""A behaviour on a tiny project: what recurs is counted by hand, its removal measured by the seed's forward pass."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import graphs
from store.errors import BadInput
from tasks.context import Context
from tasks.graphs.feature_name import parse_feature
from tests.oracle.interventions import Change, features, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.seed_model import SeedModel
from tests.tasks import graph_project
from tests.tasks.graph_project import run
from tests.tasks.remeasured import behaviours

PROMPTS = (
    "w5 w17 w44 w3 w71",
    "w8 w17 w44 w3 w12",
    "w1 w2 w44 w31 w71",
    "w9 w17 w44 w3",
    "w5 w6 w44 w3 w20",
    "w7 w44 w3 w71",
)
TARGET, RIVAL = 9, 30


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all validations of this file."""
    with graph_project.create(tmp_path_factory.mktemp("behaviour")) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A behaviour of its own, in the tiny model's words."""
    directory = behaviours(tmp_path_factory.mktemp("sets"), *PROMPTS)
    return {"behaviour": "words", "directory": directory, "dictionary": "toy", "draws": 3}


@pytest.fixture(scope="module")
def document(context: Context, options: dict[str, Any]) -> dict[str, Any]:
    """Its validation."""
    return run(context, "validate", **options)


def kept(context: Context, prompt: str) -> set[tuple[int, int, int]]:
    """(layer, feature, offset from the end) of the kept features of a prompt's graph."""
    record = next(each for each in graphs.listing(context.project.db) if each.prompt == prompt)
    nodes = graphs.nodes(context.project.db, record.id)
    return {(n.layer, n.feature, n.position - len(record.token_ids)) for n in nodes if n.kind == "feature"}


def value(context: Context, prompt: str, places: set[tuple[int, int, int]]) -> tuple[bool, float]:
    """(the decisive token is on top, logit difference) with places removed, by the seed's forward pass."""
    seed, tokens = SeedModel(context.model.hf), context.model.tokenize(prompt)
    there = {(layer, len(tokens) + offset, index): Change(0.0, 0.0) for layer, index, offset in places}
    changes: dict[Place, Change] = {place: change for place, change in there.items() if place[1] >= 1}
    logits = intervened_logits(seed, tokens, graph_project.twin_set(context), changes, "delta")[-1]
    return int(logits.argmax()) == TARGET, float(logits[TARGET] - logits[RIVAL])


def test_given_a_behaviour_when_validated_then_what_recurs_is_what_half_of_its_first_part_kept(
    context: Context, document: dict[str, Any]
) -> None:
    assert sorted(document["found_on"] + document["held_out"]) == sorted(PROMPTS)
    assert len(document["held_out"]) == 3
    times = Counter(place for prompt in document["found_on"] for place in kept(context, prompt))
    expected = {place for place, n in times.items() if n >= 2}
    listed = {(each["layer"], each["index"], each["offset"]) for each in document["features"]}
    assert listed == expected and document["recurring"] == len(expected) > 0
    assert sum(document["features_by_layer"].values()) == len(expected)


@pytest.mark.parametrize("part", ["found_on", "held_out"])
def test_given_what_recurs_when_removed_then_accuracy_and_logit_difference_are_the_seeds(
    context: Context, document: dict[str, Any], part: str
) -> None:
    circuit = {(each["layer"], each["index"], each["offset"]) for each in document["features"]}
    effects, prompts = document["effects"][part], document[part]
    for removed, outcome in ((set(), effects), (circuit, effects["ablated"])):
        again = [value(context, prompt, removed) for prompt in prompts]
        assert outcome["accuracy"] == pytest.approx(sum(top for top, _ in again) / len(again))
        assert outcome["logit_difference"] == pytest.approx(sum(d for _, d in again) / len(again), abs=5e-5)
    assert effects["prompts"] == len(prompts) and len(effects["random"]) == 3


def test_given_curves_of_a_behaviour_when_measured_then_they_are_of_the_held_out_prompts(
    context: Context, document: dict[str, Any]
) -> None:
    assert document["curve_prompts"] == 3
    assert document["whole"] == pytest.approx(document["effects"]["held_out"]["logit_difference"], abs=5e-5)
    seed, plain = SeedModel(context.model.hf), graph_project.twin_set(context)
    nothing = []
    for prompt in document["held_out"]:
        tokens = context.model.tokenize(prompt)
        z = features(seed, tokens, plain)
        every = {
            (layer, at, index): Change(0.0, 0.0)
            for layer, values in z.items()
            for at in range(1, len(tokens))
            for index in range(values.shape[1])
        }
        logits = intervened_logits(seed, tokens, plain, every, "delta")[-1]
        nothing.append(float(logits[TARGET] - logits[RIVAL]))
    assert document["nothing"] == pytest.approx(sum(nothing) / 3, abs=5e-5)
    for curve in document["curves"].values():
        assert len(curve["faithfulness"]) == 10 and curve["faithfulness"][-1] == pytest.approx(1, abs=1e-4)


def test_given_the_same_seed_when_validated_again_then_nothing_is_traced_and_every_number_is_the_same(
    context: Context, options: dict[str, Any], document: dict[str, Any]
) -> None:
    before = len(graphs.listing(context.project.db))
    again = run(context, "validate", **options)
    volatile = {"job", "seconds"}
    assert {k: v for k, v in again.items() if k not in volatile} == {
        k: v for k, v in document.items() if k not in volatile
    }
    assert len(graphs.listing(context.project.db)) == before
    assert json.loads(json.dumps(document)) == document
    other = run(context, "validate", **(options | {"seed": 3}))
    assert other["held_out"] != document["held_out"]


def test_given_anywhere_when_validated_then_features_have_no_offset_and_go_at_every_position(
    context: Context, options: dict[str, Any]
) -> None:
    document = run(context, "validate", **(options | {"anywhere": True, "held_out": 0.0, "recurs": 0.3, "draws": 0}))
    names = [parse_feature(each["feature"]) for each in document["features"]]
    assert names and all(name.positions is None for name in names)
    assert document["effects"]["held_out"] is None and document["held_out"] == []
    places = {(name.layers[0], int(name.feature or 0), -offset) for name in names for offset in range(1, 6)}
    again = [value(context, prompt, {p for p in places if -p[2] < len(prompt.split())}) for prompt in PROMPTS]
    ablated = document["effects"]["found_on"]["ablated"]
    assert ablated["logit_difference"] == pytest.approx(sum(d for _, d in again) / len(again), abs=5e-5)
    assert document["summary"].startswith("no judgement")


def test_given_corrupt_values_when_circuits_are_cut_then_prompts_without_an_equal_twin_are_left_out(
    context: Context, options: dict[str, Any]
) -> None:
    document = run(context, "validate", **(options | {"removal": "corrupt", "draws": 1}))
    assert document["removal"] == "corrupt" and document["curve_prompts"] == 3
    zero = run(context, "validate", **(options | {"draws": 1}))
    assert document["nothing"] != pytest.approx(zero["nothing"], abs=1e-4) and document["whole"] == zero["whole"]


def test_given_pairs_that_the_tokenizer_does_not_hold_when_traced_then_they_are_named_and_the_others_go_on(
    context: Context, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(behaviours(tmp_path / "own", *PROMPTS[:3]))
    text = (own / "words.toml").read_text().replace('decisive = "w9"', 'decisive = "w9 w8"', 1)
    (own / "words.toml").write_text(text)
    with pytest.raises(BadInput, match=r"words.toml, pair 0: 'w9 w8' is 2 tokens"):
        run(context, "trace", behaviour="words", directory=str(own), dictionary="toy")
    monkeypatch.setattr("tasks.trace_set.OWN_DIRECTORY", own)
    notes: list[str] = []
    monkeypatch.setattr(type(context.progress), "note", lambda _, text: notes.append(text))
    traced = run(context, "trace", behaviour="words", dictionary="toy")
    assert [each["prompt"] for each in traced["graphs"]] == list(PROMPTS[1:3])
    assert [each["pair"] for each in traced["refused"]] == [0]
    assert any(note.startswith("words, pair 0 left out: 'w9 w8' is 2 tokens") for note in notes)
    (own / "words.toml").write_text(text.replace('decisive = "w9"', 'decisive = "w9 w8"'))
    with pytest.raises(BadInput, match="no pair of words fits this model's tokenizer"):
        run(context, "trace", behaviour="words", dictionary="toy")


def test_given_a_set_of_one_prompt_when_validated_then_it_is_refused(
    context: Context, options: dict[str, Any], tmp_path: Path
) -> None:
    alone = behaviours(tmp_path / "one", PROMPTS[0])
    with pytest.raises(BadInput, match="words has one prompt, and nothing can recur"):
        run(context, "validate", **(options | {"directory": alone}))
