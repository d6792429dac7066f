"""Searching in graphs, and what is like a feature: against a plain reading of the files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from store.errors import BadInput, Missing
from store.features import find
from store.labels import set_label
from store.project import Project
from tasks.feature_neighbours import decoder_neighbours, neighbours
from tasks.graphs.active_features import search, search_documents
from tests.tasks.feature_project import LAYERS, N_FEATURES, N_POSITIONS, active, create, decoder


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The made-up project, open."""
    create(tmp_path / "project")
    with Project.open(tmp_path / "project", write=True) as made:
        yield made


def _names(project: Project, text: str, sort: str = "") -> list[str]:
    return [each["feature"] for each in search_documents(project, text, sort, limit=100)]


def _by_reading(graph: int, position: int | None = None) -> dict[str, tuple[float, float]]:
    """Name -> (largest activation, largest effect by size) of what is active in a graph."""
    arrays = active(graph)
    found: dict[str, tuple[float, float]] = {}
    for row in range(len(arrays["active_layer"])):
        if position is None or arrays["active_position"][row] == position:
            name = f"L{arrays['active_layer'][row]}/{arrays['active_index'][row]}"
            value, effect = float(arrays["active_activation"][row]), float(arrays["active_predicted_effect"][row])
            before = found.get(name, (0.0, 0.0))
            found[name] = max(before[0], value), max(before[1], effect, key=abs)
    return found


def test_given_two_graphs_when_contrasted_then_only_what_the_one_has_is_found(project: Project) -> None:
    assert set(_names(project, "in:1 not-in:2")) == _by_reading(1).keys() - _by_reading(2).keys()
    assert set(_names(project, "in:1 in:2")) == _by_reading(1).keys() & _by_reading(2).keys()
    assert (
        set(_names(project, "not-in:1"))
        == {f"L{layer}/{feature}" for layer in LAYERS for feature in range(N_FEATURES)} - _by_reading(1).keys()
    )


def test_given_a_position_when_searched_then_it_is_what_is_active_there_by_activation_effect_or_rarity(
    project: Project,
) -> None:
    for position in range(N_POSITIONS):
        read = _by_reading(1, position)
        by_activation = _names(project, f"in:1@{position}")
        assert by_activation == sorted(read, key=lambda name: -read[name][0])
        assert _names(project, f"in:1@{position - N_POSITIONS}") == by_activation
        assert _names(project, f"in:1@{position}", "effect") == sorted(read, key=lambda name: -abs(read[name][1]))
        rarest = _names(project, f"in:1@{position}", "rarity")
        assert [int(name.split("/")[1]) for name in rarest] == sorted(int(name.split("/")[1]) for name in read)


def test_given_filters_beside_a_graph_then_both_hold(project: Project) -> None:
    expected = {name for name in _by_reading(1) if name.startswith("L1/") and int(name.split("/")[1]) < 6}
    assert set(_names(project, "in:1 layer:1 density:<=6%")) == expected
    words = {name for name in _by_reading(1) if int(name.split("/")[1]) in (1, 2, 3)}
    assert set(_names(project, "in:1 word3")) == words


@pytest.mark.parametrize(
    ("text", "sort", "error", "said"),
    [
        ("in:3", "", BadInput, "graph 3 is of neurons"),
        ("in:9", "", Missing, "no graph 9"),
        ("in:1@5", "", BadInput, "has no position 5; it has 0 to 4"),
        ("in:1@-6", "", BadInput, "has no position -6"),
        ("in:1 not-in:4", "", BadInput, "of the sets made and other"),
        ("word", "effect", BadInput, "an order by effect needs a graph"),
        ("word", "size", BadInput, "features are not sorted by 'size'"),
    ],
)
def test_given_what_cannot_be_searched_then_one_line_says_so(
    project: Project, text: str, sort: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        search(project, text, sort=sort)


def test_given_a_limit_then_the_first_of_the_order_are_found(project: Project) -> None:
    whole = search(project, "", sort="density").found.ids.tolist()
    assert search(project, "", sort="density", limit=5).found.ids.tolist() == whole[:5]
    assert len(whole) == 24


def test_given_labels_when_sorted_by_them_then_they_come_first_from_a_to_z(project: Project) -> None:
    for feature, label in ((3, "zebra"), (9, "ant")):
        set_label(project.db, feature, label)
    assert search(project, "", sort="label").found.ids.tolist()[:3] == [9, 3, 1]


def test_given_weights_when_neighbours_are_asked_then_they_are_by_cosine_of_decoder_rows(project: Project) -> None:
    record = find(project.db, "L1/2")
    weights = decoder(1)
    cosine = {
        row: float(weights[2] @ weights[row] / (np.linalg.norm(weights[2]) * np.linalg.norm(weights[row])))
        for row in range(N_FEATURES) if row not in (2, 7)
    }  # fmt: skip
    found = dict(decoder_neighbours(project, record, N_FEATURES))
    assert found.pop(7) == 0.0
    assert found == pytest.approx(cosine, abs=1e-5)
    best = neighbours(project, record, 3)
    assert best.by_decoder[0][0].name == "L1/5"
    assert (best.by_tokens[0][0].name, best.by_tokens[0][1]) == ("L0/2", 3)
    assert {row.layer for row, _ in best.by_tokens} == {0}
    assert all(shared > 1 for _, shared in best.by_tokens)
