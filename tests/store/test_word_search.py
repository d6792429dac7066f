"""Words with filters find what reading every row would, whichever way they are looked for."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from store import feature_search, labels, word_search
from store.feature_query import parse_query
from store.feature_search import find_features
from store.project import Project
from store.search import index_feature

WORDS = ["paris", "parish", "france", "capital", "spain", "madrid"]
N, N_LAYERS = 120, 3
Row = dict[str, Any]


def _made(project: Project) -> list[Row]:
    """Features of three layers with words, densities, labels, stars and tokens; as rows."""
    draw = random.Random(3)
    made: list[Row] = []
    with project.transaction():
        for layer in range(N_LAYERS):
            project.db.execute(
                "INSERT INTO dictionary (id, name, kind, layer, n_features, objective, config, metrics)"
                " VALUES (?, 'd', 'sae', ?, ?, '', '{}', '{}')", [layer + 1, layer, N],
            )  # fmt: skip
        for number in range(N):
            row: Row = {
                "layer": number % N_LAYERS, "density": draw.choice([0.0, 0.005, 0.02]), "starred": draw.random() < 0.3,
                "label": draw.choice(["", "", "paris label", "river"]), "token": draw.choice([" a", " b"]),
                "text": draw.choices(WORDS, k=draw.randrange(0, 5)),
            }  # fmt: skip
            columns = "dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed, fires_on, label"
            values = [row["layer"] + 1, number, row["density"], 1.0, 1.0, "[]", "[]", "[]", json.dumps([row["token"]])]
            marks = ", ".join("?" * (len(values) + 1))
            inserted = f"INSERT INTO feature ({columns}) VALUES ({marks})"
            row["id"] = project.db.execute(inserted, [*values, row["label"]]).lastrowid
            index_feature(project.db, row["id"], row["label"], " ".join(row["text"]), "")
            if row["starred"]:
                labels.set_star(project.db, row["layer"] + 1, number, True)
            made.append(row)
    return made


def _has(row: Row, *words: str) -> bool:
    return all(word in [*row["text"], *row["label"].split()] for word in words)


QUERIES: dict[str, Callable[[Row], bool]] = {
    "paris": lambda row: _has(row, "paris"),
    "paris france": lambda row: _has(row, "paris", "france"),
    "paris layer:1": lambda row: _has(row, "paris") and row["layer"] == 1,
    "paris density:<1%": lambda row: _has(row, "paris") and row["density"] < 0.01,
    "paris label:*": lambda row: _has(row, "paris") and row["label"] != "",
    "paris label:?": lambda row: _has(row, "paris") and row["label"] == "",
    "france star: layer:0-1": lambda row: _has(row, "france") and row["starred"] and row["layer"] < 2,
    'france fires-on:" a"': lambda row: _has(row, "france") and row["token"] == " a",
    "france fires-on:b density:>0 label:?": lambda row: (
        _has(row, "france") and row["token"] == " b" and row["density"] > 0 and row["label"] == ""
    ),
    "france label:river": lambda row: _has(row, "france") and row["label"] == "river",
    'fires-on:" a"': lambda row: row["token"] == " a",
    'fires-on:" a" star:': lambda row: row["token"] == " a" and row["starred"],
}  # fmt: skip


@pytest.mark.parametrize("probed", [0, 1000])
@pytest.mark.parametrize("few", [0, 1000])
def test_given_words_and_filters_then_what_is_found_is_what_reading_every_row_finds(
    project: Project, monkeypatch: pytest.MonkeyPatch, probed: int, few: int
) -> None:
    monkeypatch.setattr(word_search, "_MOST_PROBED", probed)
    monkeypatch.setattr(word_search, "_ENOUGH", 0)  # words as they stand
    monkeypatch.setattr(feature_search, "FEW", few)
    monkeypatch.setattr(feature_search, "_MOST_LISTED", few)
    rows = _made(project)
    for query, holds in QUERIES.items():
        found = find_features(project.db, parse_query(query))
        assert sorted(found.ids.tolist()) == [row["id"] for row in rows if holds(row)], query
        page = find_features(project.db, parse_query(query), limit=5)
        assert page.ids.tolist() == found.ids.tolist()[:5]


def test_given_a_frequent_word_beside_a_rare_one_then_the_rare_one_ranks(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _made(project)
    n_france = sum(_has(row, "france") for row in rows)
    monkeypatch.setattr(word_search, "_FREQUENT", n_france)
    with project.transaction():
        project.db.execute("DELETE FROM feature_fts")
        for row in rows:
            extra = "madrid " * (1 + row["id"] % 5)
            index_feature(project.db, row["id"], "", f"{' '.join(row['text'])} {extra}", "")
    found = find_features(project.db, parse_query("madrid france"))
    alone = find_features(project.db, parse_query("france"))
    assert set(found.ids.tolist()) == set(alone.ids.tolist())
    for row_id, score in found.scores.items():
        assert score == pytest.approx(alone.scores[row_id])
    monkeypatch.setattr(word_search, "_FREQUENT", 0)
    unranked = find_features(project.db, parse_query("madrid france"))
    assert unranked.scores == {}
    assert set(unranked.ids.tolist()) == set(alone.ids.tolist())


@pytest.mark.parametrize(("complete", "beginnings"), [(1000, True), (1, False)])
def test_given_a_last_word_that_many_features_have_then_it_is_complete_and_finds_no_longer_ones(
    project: Project, monkeypatch: pytest.MonkeyPatch, complete: int, beginnings: bool
) -> None:
    monkeypatch.setattr(word_search, "_COMPLETE", complete)
    rows = [row for row in _made(project) if "france" in row["text"]]
    holds = [row["id"] for row in rows if _has(row, "paris") or (beginnings and "parish" in row["text"])]
    with project.transaction():  # fewer than are enough
        for row_id in holds[10:]:
            project.db.execute("DELETE FROM feature WHERE id = ?", [row_id])
    found = find_features(project.db, parse_query("france paris"))
    assert sorted(found.ids.tolist()) == holds[:10]


def test_given_more_features_than_are_ranked_then_those_with_the_whole_word_and_the_labelled_ones_come_first(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_search, "MOST_RANKED", 10)
    with project.transaction():
        rows = []
        project.db.execute(
            "INSERT INTO dictionary (id, name, kind, layer, n_features, objective, config, metrics)"
            " VALUES (1, 'd', 'sae', 0, 40, '', '{}', '{}')"
        )
        for number in range(40):
            label = "parisian" if number == 30 else ""
            sql = """INSERT INTO feature (dictionary_id, feature, density, maximum, mean, histogram, promoted,
                suppressed, label) VALUES (1, ?, 0, 0, 0, '[]', '[]', '[]', ?)"""
            rows.append(int(project.db.execute(sql, [number, label]).lastrowid or 0))
            index_feature(project.db, rows[-1], label, "paris" if number == 35 else "parish", "")
    found = find_features(project.db, parse_query("paris"))
    assert found.cut
    assert found.ids.tolist() == [rows[35], rows[30], *rows[:8]]
