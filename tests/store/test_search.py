"""Packed examples round-trip, and a search finds what a plain reading of the words would find."""

import math
import random
import re
import struct
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from store.database import migrate
from store.errors import BadInput, Damaged, Missing
from store.feature_query import Bound, FeatureQuery
from store.feature_search import FoundFeatures, find_features
from store.features import FeatureRow, rows_of
from store.labels import set_label
from store.project import Project
from store.search import (
    MAX_TERMS,
    Example,
    index_feature,
    pack_examples,
    quoted_words,
    unpack_examples,
)
from tests.store.conftest import writes

VOCABULARY = ["paris", "parish", "france", "capital", "spain", "madrid", "river", "rivers"]
TEXTS = st.lists(st.sampled_from(VOCABULARY), max_size=6).map(" ".join)
EXAMPLES = st.lists(
    st.builds(Example, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.floats(width=32, allow_nan=False)),
    max_size=255,
)


def _add_feature(db: Database, feature: int, texts: tuple[str, str, str], layer: int = 3, density: float = 0.1) -> int:
    """A feature in the dictionary `d` of its layer, indexed; returns its row id."""
    db.execute("INSERT OR IGNORE INTO file VALUES (1, 'weights/d.bin', 1, '00')")
    db.execute(
        "INSERT OR IGNORE INTO dictionary (id, name, kind, layer, n_features, objective, file_id, config, metrics)"
        " VALUES (?, 'd', 'sae', ?, 8, 'topk', 1, '{}', '{}')",
        [layer + 1, layer],
    )
    feature_id = db.execute(
        "INSERT INTO feature (dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed, label)"
        " VALUES (?, ?, ?, 5.0, 1.0, '[]', '[]', '[]', ?)",
        [layer + 1, feature, density, texts[0]],
    ).lastrowid
    assert feature_id
    index_feature(db, feature_id, *texts)
    return int(feature_id)


@pytest.fixture
def db(project: Project) -> Database:
    """Three features about places."""
    _add_feature(project.db, 0, ("capital of France", "the city of Paris lies", "Paris Lyon"))
    _add_feature(project.db, 1, ("", "parish church in Spain", "Madrid"), layer=4, density=0.5)
    _add_feature(project.db, 2, ("rivers", "the Seine in Paris", "water"), layer=4)
    return project.db


def _find(db: Database, words: str, **filters: Any) -> FoundFeatures:
    limit = {key: filters.pop(key) for key in ("limit", "time_limit_s") if key in filters}
    return find_features(db, FeatureQuery(words=tuple(words.split()) or (words,), **filters), **limit)


def _search(db: Database, words: str, **filters: Any) -> list[FeatureRow]:
    """The rows that a search for words finds, in its order."""
    ids = _find(db, words, **filters).ids.tolist()
    rows = rows_of(db, ids)
    return [rows[row_id] for row_id in ids]


@given(EXAMPLES)
def test_examples_survive_packing(examples: list[Example]) -> None:
    assert unpack_examples(pack_examples(examples)) == examples


def test_packed_examples_have_the_documented_layout() -> None:
    packed = pack_examples([Example(7, 513, 1.5), Example(2**32 - 1, 0, -2.0)])
    assert packed == b"\x02" + struct.pack("<IIfIIf", 7, 513, 1.5, 2**32 - 1, 0, -2.0)
    assert len(pack_examples([Example(1, 2, 3.0)] * 20)) == 241


@given(st.binary(max_size=60))
def test_a_blob_of_the_wrong_length_is_damaged(packed: bytes) -> None:
    if packed and len(packed) == 1 + 12 * packed[0]:
        assert len(unpack_examples(packed)) == packed[0]
    else:
        with pytest.raises(Damaged, match="blob of examples"):
            unpack_examples(packed)


def test_more_examples_than_the_count_can_say_are_refused() -> None:
    with pytest.raises(ValueError, match="256 examples"):
        pack_examples([Example(0, 0, 0.0)] * 256)


def test_a_label_outweighs_an_example_and_rows_carry_what_is_shown(db: Database) -> None:
    _add_feature(db, 3, ("paris", "x", "y"))
    found = _search(db, "paris")
    scores = _find(db, "paris").scores
    assert [row.name for row in found[:2]] == ["L3/3", "L3/0"]
    assert {row.name for row in found} == {"L3/0", "L3/3", "L4/1", "L4/2"}
    assert [scores[row.id] for row in found] == sorted(scores.values(), reverse=True)
    first = found[0]
    assert (first.dictionary, first.layer, first.feature, first.label) == ("d", 3, 3, "paris")
    assert (first.density, first.maximum) == (0.1, 5.0)


def test_only_the_last_word_is_a_prefix(db: Database) -> None:
    assert {row.name for row in _search(db, "pari")} == {"L3/0", "L4/1", "L4/2"}
    assert _search(db, "pari city") == []
    assert [row.name for row in _search(db, "city pari")] == ["L3/0"]


def test_filters_narrow_a_search(db: Database) -> None:
    assert {row.name for row in _search(db, "paris", layers=frozenset([4]))} == {"L4/1", "L4/2"}
    assert [row.name for row in _search(db, "paris", layers=frozenset([4]), density=(Bound(">=", 0.2),))] == ["L4/1"]
    assert _search(db, "paris", layers=frozenset()) == []
    assert _search(db, "paris", dictionary="other") == []
    assert len(_search(db, "paris", dictionary="d", limit=1)) == 1


def test_a_new_label_finds_and_the_old_one_no_longer(db: Database) -> None:
    db.execute("INSERT INTO context VALUES (3, 'the Seine in Paris', x'00')")
    set_label(db, 3, "waterways")
    assert [row.label for row in _search(db, "waterways")] == ["waterways"]
    assert _search(db, "rivers") == []
    assert [row.name for row in _search(db, "seine")] == ["L4/2"]
    with pytest.raises(Missing, match="no feature with row 99"):
        set_label(db, 99, "x")


def test_a_deleted_dictionary_leaves_the_index_to_whoever_gets_its_ids(db: Database) -> None:
    db.execute("DELETE FROM dictionary WHERE layer = 4")
    assert _add_feature(db, 9, ("mountains", "", "")) == 2
    assert [row.name for row in _search(db, "mountains")] == ["L3/9"]
    assert _search(db, "spain") == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=6), st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=3)
)
def test_a_search_finds_what_reading_every_text_would(texts: list[tuple[str, str, str]], words: list[str]) -> None:
    db = Database(memory=True)
    migrate(db)
    for feature, three in enumerate(texts):
        _add_feature(db, feature, three)
    *whole, last = words
    by_reading = {
        feature
        for feature, three in enumerate(texts)
        if all(word in " ".join(three).split() for word in whole)
        and any(token.startswith(last) for token in " ".join(three).split())
    }
    assert {row.feature for row in _search(db, " ".join(words))} == by_reading


HOSTILE = st.text(st.sampled_from("\"'*()^-+:{}\0\\ aNEAROT_%;\n\t") | st.characters(), max_size=80)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=HOSTILE, dictionary=st.none() | HOSTILE)
def test_no_text_is_an_error_or_a_command(db: Database, words: str, dictionary: str | None) -> None:
    try:
        found = _search(db, words, dictionary=dictionary)
    except BadInput as error:
        assert "\n" not in str(error)
        found = []
    assert len(found) <= 3
    assert db.execute("SELECT count(*) FROM feature").fetchone() == (3,)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=HOSTILE, word=st.from_regex(r"[a-z]{3,8}", fullmatch=True))
def test_text_of_any_kind_can_be_indexed_and_its_words_found(db: Database, text: str, word: str) -> None:
    index_feature(db, 1, text, f"{text.replace(chr(0), '')} {word}", text)
    assert "L3/0" in {row.name for row in _search(db, word)}


@pytest.mark.parametrize("words", ["", "   ", "\0", "!!! ---", '"'])
def test_a_search_for_nothing_is_bad_input(words: str) -> None:
    with pytest.raises(BadInput, match="nothing to search for"):
        quoted_words([words])


def test_a_search_has_at_most_sixteen_words_and_a_thousand_characters(db: Database) -> None:
    assert _search(db, " ".join(["paris"] * MAX_TERMS))
    assert _search(db, "a-" * 500) == []
    for words in (" ".join(["paris"] * (MAX_TERMS + 1)), "a" * 1001):
        with pytest.raises(BadInput, match="give at most 16 words and 1000 characters"):
            _search(db, words)


def test_a_search_that_takes_too_long_is_stopped_and_the_next_one_is_not(project: Project) -> None:
    words = random.Random(0).choices(VOCABULARY, k=50)
    with project.transaction():
        project.record_file(project.files.write("weights", "d.bin", writes(b"d")))
        for feature in range(3000):
            _add_feature(project.db, feature, ("", " ".join(words), ""))
    started = time.monotonic()
    with pytest.raises(BadInput, match=r"took longer than 0\.0001 s"):
        _find(project.db, "par", time_limit_s=0.0001)
    assert time.monotonic() - started < 1.0
    assert len(_search(project.db, "par", time_limit_s=60.0)) == 3000


def test_an_error_of_the_database_is_not_taken_for_slowness(db: Database) -> None:
    db.execute("DROP TABLE feature_fts")
    with pytest.raises(Exception, match=re.escape("no such table: feature_fts")):
        _search(db, "paris")


def test_activations_are_kept_as_float32() -> None:
    [example] = unpack_examples(pack_examples([Example(0, 0, math.pi)]))
    assert example.activation == struct.unpack("<f", struct.pack("<f", math.pi))[0]
