"""Indexed neurons in searches of graphs and in lists of neighbours, with no model anywhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.contexts import pack_contexts
from store.feature_details import pack_neighbours
from store.features import find
from store.project import Project
from tasks.feature_neighbours import neighbours
from tasks.graphs.active_features import search_documents
from tests.tasks import feature_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    feature_project.create(tmp_path / "project")
    with Project.open(tmp_path / "project", write=True) as opened:
        with opened.transaction():
            for layer in feature_project.LAYERS:
                _index_neurons(opened, layer)
        yield opened


def _index_neurons(project: Project, layer: int) -> None:
    """Every neuron of a layer, each nearest the next one."""
    n = feature_project.N_FEATURES
    columns = "name, kind, layer, n_features, objective, config, metrics"
    sql = f"INSERT INTO dictionary ({columns}) VALUES ('neurons', 'neurons', ?, ?, '', '{{}}', '{{}}')"
    dictionary = project.db.execute(sql, [layer, n]).lastrowid
    for neuron in range(n):
        row = project.db.execute(
            "INSERT INTO feature (dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed)"
            " VALUES (?, ?, 0.5, 2.0, 0.0, '[]', '[]', '[]')",
            [dictionary, neuron],
        ).lastrowid
        near = pack_neighbours([((neuron + 1) % n, 0.5), ((neuron + 2) % n, 0.25)])
        empty = pack_contexts([])
        project.db.execute("INSERT INTO feature_detail VALUES (?, 1, 0, 3, ?, ?, ?, ?)", [row, empty, empty, near, b""])


def test_given_a_graph_of_neurons_when_it_is_searched_in_then_its_neurons_are_found(project: Project) -> None:
    active = feature_project.active(3)
    expected = {
        f"L{layer}/{index}" for layer, index in zip(active["active_layer"], active["active_index"], strict=True)
    }
    found = search_documents(project, "in:3", "", 1000)
    assert {each["feature"] for each in found} == expected
    assert {each["dictionary"] for each in found} == {"neurons"}


def test_given_a_neuron_when_its_neighbours_are_asked_for_then_they_are_those_that_the_index_kept(
    project: Project,
) -> None:
    found = neighbours(project, find(project.db, "L1/4", "neurons"), 10)
    assert [(row.name, row.dictionary, cosine) for row, cosine in found.by_decoder] == [
        ("L1/5", "neurons", 0.5),
        ("L1/6", "neurons", 0.25),
    ]


def test_given_a_trained_feature_without_kept_neighbours_then_they_are_read_from_its_weights(project: Project) -> None:
    found = neighbours(project, find(project.db, "L1/2"), 1)
    assert [row.name for row, _ in found.by_decoder] == ["L1/5"]
