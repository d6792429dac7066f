"""Feature JSON of Neuronpedia and circuit-tracer: numbers, files given away, files taken in, files that are none."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from store import labels
from store.contexts import Context, pack_contexts
from store.errors import BadInput
from store.feature_details import pack_neighbours
from store.feature_json import cantor, feature_document, place_of, read_feature, store_feature
from store.feature_query import parse_query
from store.feature_search import find_features
from store.features import card, find
from store.project import Project
from store.search import Example, pack_examples
from tests.store.test_search import _add_feature

FILE: dict[str, Any] = {
    "transcoder_id": "theirs", "index": cantor(3, 0),
    "examples_quantiles": [
        {"quantile_name": "Subsample Interval 0", "examples": [
            {"tokens": [" a", " b"], "tokens_acts_list": [0.0, 1.5], "train_token_ind": 1,
             "is_repeated_datapoint": False}]},
        {"quantile_name": "Top Activations", "examples": [
            {"tokens": [" the", " Paris", " ×"], "tokens_acts_list": [0, 4, 2.0], "train_token_ind": 1,
             "is_repeated_datapoint": False}]},
    ],
    "top_logits": [" France"], "bottom_logits": [" x"], "act_min": 0.0, "act_max": 4.0, "quantile_values": [0.1],
    "histogram": [3.0, 1.0], "activation_frequency": 0.02,
}  # fmt: skip


@pytest.fixture
def db(project: Project) -> Database:
    """One feature with a label, texts and scores."""
    _add_feature(project.db, 0, ("old", "words", "Lyon"))
    context = Context(1, 9, 2.0, (0, 1, 2), (0.0, 2.0, math.nan), 1)
    project.db.execute("INSERT INTO context VALUES (1, 'words', ?)", [pack_contexts([context])])
    project.db.conn.executemany("INSERT INTO token_text VALUES (?, ?)", [(0, " the"), (1, " city"), (2, " of")])
    labels.set_scores(project.db, 1, [labels.LabelScore("detection", "judge", 0.75, 10, 10)])
    return project.db


def written(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "1.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@given(st.integers(0, 200), st.integers(0, 300_000))
def test_given_a_place_when_numbered_then_the_number_is_circuit_tracers_and_leads_back(
    layer: int, feature: int
) -> None:
    number = cantor(layer, feature)
    assert number == (layer + feature) * (layer + feature + 1) / 2 + feature
    assert place_of(number) == (layer, feature)


def test_given_a_feature_when_given_away_and_taken_in_again_then_what_the_file_says_is_the_same(
    db: Database, tmp_path: Path
) -> None:
    before = card(db, "L3/0")
    document = feature_document(before)
    assert document["index"] == cantor(3, 0)
    [example] = document["examples_quantiles"][0]["examples"]
    assert example["tokens"] == [" the", " city", " of"]
    assert example["tokens_acts_list"] == [0.0, 2.0, 0.0]
    assert document["label_scores"][0]["balanced_accuracy"] == 0.75
    store_feature(db, before["dictionary_id"], read_feature(written(tmp_path, document)), "imported")
    after = card(db, "L3/0")
    assert {name: after[name] for name in ("density", "maximum", "mean", "label")} == {
        name: before[name] for name in ("density", "maximum", "mean", "label")
    }
    assert [token for token, _ in after["promoted"]] == [token for token, _ in before["promoted"]]
    assert after["contexts"][0]["tokens"] == [" the", " city", " of"]
    assert after["labels"] == before["labels"]
    assert feature_document(after)["examples_quantiles"] == document["examples_quantiles"]


def test_given_a_foreign_file_when_taken_in_then_it_is_found_by_its_words_and_shown_with_its_examples(
    db: Database, tmp_path: Path
) -> None:
    dictionary_id = find(db, "L3/0").dictionary_id
    store_feature(db, dictionary_id, read_feature(written(tmp_path, FILE | {"label": "theirs"})), "imported")
    shown = card(db, "L3/0")
    assert (shown["density"], shown["maximum"], shown["mean"], shown["label"]) == (0.02, 4.0, 1.0, "old")
    strongest, weaker = shown["contexts"]
    assert (strongest["tokens"], strongest["values"], strongest["at"]) == ([" the", " Paris", " ×"], [0, 4, 2], 1)
    assert weaker["tokens"] == [" a", " b"]
    assert shown["fires_on"] == [" Paris", " b"]
    assert math.isnan(shown["promoted"][0][1])
    for query in ("paris", "france", 'fires-on:" Paris"', "label:old"):
        assert find_features(db, parse_query(query)).ids.tolist() == [find(db, "L3/0").id]
    labels.set_label(db, shown["id"], "")
    store_feature(db, dictionary_id, read_feature(written(tmp_path, FILE | {"label": "theirs"})), "imported")
    newest = labels.history(db, dictionary_id, 0)[0]
    assert (newest.label, newest.source) == ("theirs", "imported")


def test_given_an_indexed_feature_when_a_file_is_taken_in_then_what_the_file_does_not_say_stays(
    db: Database, tmp_path: Path
) -> None:
    row = find(db, "L3/0")
    db.execute("UPDATE feature SET histogram = '[4, 5]', promoted = ?", [json.dumps([[" France", 2.5], [" b", 1.0]])])
    db.execute("INSERT INTO example VALUES (?, ?)", [row.id, pack_examples([Example(7, 3, 2.0)])])
    db.execute("INSERT INTO fires_on VALUES (' old', ?)", [row.id])
    db.execute("UPDATE feature SET fires_on = '[\" old\"]'")
    sampled = pack_contexts([Context(1, 9, 2.0, (0, 1), (0.0, 2.0), 1)])
    db.execute("INSERT INTO feature_detail VALUES (?, 0.5, 1.25, 3.5, ?, NULL, ?, ?)",
               [row.id, sampled, pack_neighbours([(2, 0.75)]), b""])  # fmt: skip
    file = {name: value for name, value in FILE.items() if name != "activation_frequency"}
    store_feature(db, row.dictionary_id, read_feature(written(tmp_path, file)), "imported")
    shown = card(db, "L3/0")
    assert (shown["id"], shown["density"], shown["mean"], shown["histogram"]) == (row.id, row.density, 1.0, [4, 5])
    assert shown["promoted"] == [[" France", 2.5]]
    assert (shown["moments"]["kurtosis"], shown["neighbours"]["by_decoder"][0]["cosine"]) == (3.5, 0.75)
    assert shown["quantiles"][0]["contexts"][0]["tokens"] == [" the", " city"]
    assert shown["examples"] == [{"document": 7, "position": 3, "activation": 2.0}]
    assert find_features(db, parse_query('fires-on:" old"')).ids.tolist() == []
    assert find_features(db, parse_query('fires-on:" b"')).ids.tolist() == [row.id]


def test_given_a_feature_without_an_index_when_a_file_is_taken_in_then_its_mean_is_that_of_the_examples(
    db: Database, tmp_path: Path
) -> None:
    file = read_feature(written(tmp_path, FILE | {"index": cantor(3, 5)}))
    store_feature(db, find(db, "L3/0").dictionary_id, file, "imported")
    shown = card(db, "L3/5")
    assert (shown["density"], shown["mean"], shown["histogram"]) == (0.02, 2.5, [])
    assert math.isnan(shown["promoted"][0][1])


def _changed(**changes: Any) -> dict[str, Any]:
    return FILE | changes


def _with_example(**changes: Any) -> dict[str, Any]:
    example = FILE["examples_quantiles"][0]["examples"][0] | changes
    return FILE | {"examples_quantiles": [{"quantile_name": "x", "examples": [example]}]}


@pytest.mark.parametrize(
    "document",
    ["", "[]", "null", "[" * 100_000, "{}", _changed(index=-1), _changed(index="1"), _changed(index=True),
     _changed(index=1 << 70), _changed(act_max=float("nan")), _changed(activation_frequency=2),
     _changed(top_logits=[1]),
     _changed(examples_quantiles=3), _with_example(tokens=[" a"]), _with_example(tokens=[], tokens_acts_list=[]),
     _with_example(tokens_acts_list=[0.0, "x"]), _with_example(tokens_acts_list=[0.0, float("inf")]),
     _with_example(tokens=[" a", None]), _changed(label="x" * 201), _changed(act_max=[1])],
)  # fmt: skip
def test_given_a_file_that_is_no_feature_when_read_then_one_line_names_it(tmp_path: Path, document: Any) -> None:
    with pytest.raises(BadInput) as caught:
        read_feature(written(tmp_path, document))
    assert "\n" not in str(caught.value)


def test_given_long_examples_when_taken_in_then_the_peak_stays_in_sight(db: Database, tmp_path: Path) -> None:
    tokens = [f" t{n}" for n in range(400)]
    values = [float(n == 350) for n in range(400)]
    tokens[350] = "\ud800\x1b[31m"
    document = _with_example(tokens=tokens, tokens_acts_list=values)
    found = read_feature(written(tmp_path, document))
    [example] = found.examples
    assert (len(example.tokens), example.values[example.at]) == (255, 1.0)
    store_feature(db, find(db, "L3/0").dictionary_id, found, "imported")
    assert len(card(db, "L3/0")["contexts"][0]["tokens"]) == 255
