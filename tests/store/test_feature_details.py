"""What an index keeps of a feature beside its row, and rows of sets whose weights are no file of the project."""

import json
import math
from pathlib import Path

import pytest

from store.contexts import Context, pack_contexts
from store.dictionaries import find as find_set
from store.dictionaries import listing, remove
from store.errors import BadInput, Damaged
from store.feature_details import pack_neighbours, quantile_bounds, unpack_neighbours
from store.features import card, find
from store.project import Project
from tests.store.conftest import writes


def _insert_feature(project: Project, dictionary: int, feature: int, label: str = "") -> int:
    sql = (
        "INSERT INTO feature (dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed, label)"
        " VALUES (?, ?, 0.5, 2.0, 1.0, '[]', '[]', '[]', ?)"
    )
    return int(project.db.execute(sql, [dictionary, feature, label]).lastrowid or 0)


def _insert_neurons(project: Project) -> int:
    sql = (
        "INSERT INTO dictionary (name, kind, layer, n_features, objective, config, metrics)"
        " VALUES ('neurons', 'neurons', 1, 16, '', '{}', '{}')"
    )
    return int(project.db.execute(sql).lastrowid or 0)


def _example(activation: float, token: int) -> Context:
    return Context(3, 7, activation, (token, token + 1), (activation, math.nan), 0)


def test_given_a_described_neuron_when_its_card_is_read_then_everything_is_there_without_a_model(
    project: Project,
) -> None:
    sampled = [_example(value, 5) for value in (2.0, 1.5, 1.0, 0.5)]
    with project.transaction():
        neurons = _insert_neurons(project)
        row = _insert_feature(project, neurons, 4)
        _insert_feature(project, neurons, 9, "nine")
        project.db.execute("INSERT INTO token_text VALUES (5, ' five'), (6, ' six')")
        project.db.execute(
            "INSERT INTO feature_detail VALUES (?, 0.5, 1.25, 3.5, ?, ?, ?, ?)",
            [row, pack_contexts(sampled), pack_contexts([_example(4.0, 6)]), pack_neighbours([(9, 0.75)]),
             pack_neighbours([(11, 0.5)])],
        )  # fmt: skip
    shown = card(project.db, "L1/4")
    assert json.dumps(shown)
    assert shown["moments"] == {"standard_deviation": 0.5, "skewness": 1.25, "kurtosis": 3.5}
    assert [(each["from"], each["to"], len(each["contexts"])) for each in shown["quantiles"]] == [
        (0.8, 1.0, 1), (0.6, 0.8, 1), (0.4, 0.6, 1), (0.2, 0.4, 1)
    ]  # fmt: skip
    assert shown["quantiles"][0]["contexts"][0]["tokens"] == [" five", " six"]
    assert shown["lowest"][0]["activation"] == shown["lowest"][0]["values"][0] == -4.0
    [near] = shown["neighbours"]["by_decoder"]
    assert (near["feature"], near["label"], near["cosine"]) == ("L1/9", "nine", 0.75)
    assert shown["neighbours"]["by_coactivation"] == [{"feature": "L1/11", "share": 0.5}]


def test_given_a_feature_of_an_earlier_index_then_its_card_says_that_nothing_more_is_known(project: Project) -> None:
    with project.transaction():
        _insert_feature(project, _insert_neurons(project), 4)
    shown = card(project.db, "L1/4")
    assert [shown[key] for key in ("moments", "quantiles", "lowest", "neighbours")] == [None] * 4


def test_given_indexed_neurons_then_they_are_no_set_with_weights_and_come_after_a_set_that_has_the_feature(
    project: Project, tmp_path: Path
) -> None:
    with project.transaction():
        stored = project.files.write("weights", "w.safetensors", writes(b"x"))
        sql = (
            "INSERT INTO dictionary (name, kind, layer, n_features, objective, file_id, config, metrics)"
            " VALUES ('mine', 'sae', 1, 16, '', ?, '{}', '{}')"
        )
        mine = int(project.db.execute(sql, [project.record_file(stored)]).lastrowid or 0)
        _insert_feature(project, mine, 4)
        _insert_feature(project, _insert_neurons(project), 4)
    assert list(listing(project.db)) == ["mine"]
    assert find(project.db, "L1/4").dictionary == "mine"
    assert find(project.db, "L1/4", "neurons").dictionary == "neurons"


def test_given_indexed_neurons_when_sets_are_listed_with_them_then_they_can_be_found_and_removed(
    project: Project,
) -> None:
    with project.transaction():
        _insert_feature(project, _insert_neurons(project), 4, "label")
    [record] = find_set(project.db, "neurons", indexed=True)
    assert (record.kind, record.file, record.n_indexed, record.n_features) == ("neurons", None, 1, 16)
    assert list(listing(project.db)) == []
    assert list(listing(project.db, indexed=True)) == ["neurons"]
    with pytest.raises(BadInput, match="no dictionary set named 'neurons'"):
        find_set(project.db, "neurons")
    with pytest.raises(BadInput, match="no file of this project"):
        _ = record.weights
    with project.transaction():
        remove(project.db, [record])
    assert listing(project.db, indexed=True) == {}
    assert project.db.execute("SELECT count(*) FROM feature").fetchone() == (0,)


def test_neighbours_are_read_back_and_a_torn_blob_is_named() -> None:
    neighbours = [(4_000_000_000, 0.5), (0, -1.0)]
    assert unpack_neighbours(pack_neighbours(neighbours)) == neighbours
    with pytest.raises(Damaged, match="a blob of neighbours has 15 bytes"):
        unpack_neighbours(pack_neighbours(neighbours)[:-1])


@pytest.mark.parametrize("n", range(1, 12))
def test_sampled_examples_stand_for_fifths_from_the_strongest_down(n: int) -> None:
    lower = [quantile_bounds(place, n)[0] for place in range(n)]
    assert lower == sorted(lower, reverse=True)
    assert lower[0] == 0.8
    assert max(lower.count(each) for each in lower) - min(lower.count(each) for each in lower) <= 1
