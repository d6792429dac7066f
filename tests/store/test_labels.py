"""Labels and stars: written at once, found at once, remembered."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from store.errors import BadInput, Missing
from store.feature_query import parse_query
from store.feature_search import find_features
from store.features import card, find, rows_of
from store.labels import FLOOR, LabelScore, history, set_label, set_scores, set_star
from store.project import Project
from tests.store.test_search import _add_feature


@pytest.fixture
def db(project: Project) -> Database:
    """Two features, one of a context whose words are kept."""
    _add_feature(project.db, 0, ("", "the city of Paris lies", "Lyon"))
    _add_feature(project.db, 1, ("old", "", ""))
    project.db.execute("INSERT INTO context VALUES (1, 'the city of Paris lies', x'00')")
    return project.db


def names(db: Database, query: str) -> list[int]:
    """The ids that a query finds."""
    found: list[int] = find_features(db, parse_query(query)).ids.tolist()
    return found


def test_given_a_label_when_written_then_it_is_found_with_the_words_of_the_examples_and_remembered(
    db: Database,
) -> None:
    assert set_label(db, 1, "  cities\nof France ") == "cities of France"
    assert names(db, "cities paris") == names(db, "label:france") == names(db, "label:*  layer:3 city") == [1]
    set_label(db, 1, "towns", source="judge")
    assert names(db, "cities") == names(db, "label:france") == []
    assert names(db, "towns") == names(db, "label:towns") == [1]
    told = [(each.label, each.source) for each in history(db, 4, 0)]
    assert told == [("towns", "judge"), ("cities of France", "person")]


def test_given_the_same_label_when_written_again_then_history_stays(db: Database) -> None:
    set_label(db, 2, "old")
    assert history(db, 4, 1) == []


def test_given_an_empty_label_when_written_then_the_feature_has_none(db: Database) -> None:
    set_label(db, 2, "")
    assert names(db, "label:?") == [1, 2]
    assert names(db, "label:*") == []
    assert find(db, "L3/1").label == ""


@pytest.mark.parametrize(("feature", "label", "error"), [(1, "x" * 201, BadInput), (99, "x", Missing)])
def test_given_what_cannot_be_labelled_then_one_line_says_so(
    db: Database, feature: int, label: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        set_label(db, feature, label)
    assert set_label(db, 1, "x" * 200)


def test_given_a_star_when_set_twice_and_taken_away_then_searches_follow(db: Database) -> None:
    set_star(db, 4, 1, True)
    set_star(db, 4, 1, True)
    assert names(db, "star:") == [2]
    set_star(db, 4, 1, False)
    assert names(db, "star:") == []


def test_given_a_feature_that_was_indexed_before_texts_were_kept_then_its_card_says_so(db: Database) -> None:
    assert card(db, "L3/1")["contexts"] is None


SCORES = [
    LabelScore("detection", FLOOR, 0.9, 10, 10),
    LabelScore("detection", "judge", 0.75, 10, 10, 1),
    LabelScore("fuzzing", "judge", 0.5, 4, 6),
]


def test_given_scores_when_kept_then_they_go_with_the_label_they_are_of(db: Database) -> None:
    set_label(db, 1, "towns", source="judge")
    set_scores(db, 1, SCORES)
    set_scores(db, 1, [LabelScore("detection", "judge", 0.8, 10, 10)])
    latest, *_ = history(db, 4, 0)
    assert latest.scores == (LabelScore("detection", "judge", 0.8, 10, 10), SCORES[0], SCORES[2])
    assert rows_of(db, [1, 2])[1].label_score == 0.8
    assert rows_of(db, [2])[2].label_score is None
    set_scores(db, 2, SCORES)
    assert card(db, "L3/1")["labels"][0]["scores"][0]["balanced_accuracy"] == 0.75
    set_label(db, 1, "cities")
    assert rows_of(db, [1])[1].label_score is None
    assert [len(change.scores) for change in history(db, 4, 0)] == [0, 3]


def test_given_a_label_from_before_there_was_a_history_when_scored_then_it_gets_one(db: Database) -> None:
    set_scores(db, 2, SCORES)
    [change] = history(db, 4, 1)
    assert (change.label, len(change.scores)) == ("old", 3)


def test_given_no_label_when_scored_then_it_is_refused(db: Database) -> None:
    with pytest.raises(BadInput, match="without a label"):
        set_scores(db, 1, SCORES)


@given(n_active=st.integers(1, 60), n_inactive=st.integers(1, 60))
def test_given_a_coin_when_it_judges_then_luck_bounds_it_about_nineteen_times_in_twenty(
    n_active: int, n_inactive: int
) -> None:
    """Against the exact distribution: the share of coins strictly above `luck` is at most 8 % (ties and rounding)."""
    luck = LabelScore("detection", "coin", 0.5, n_active, n_inactive).luck
    above = sum(
        comb(n_active, right) * comb(n_inactive, wrong) * 0.5 ** (n_active + n_inactive)
        for right in range(n_active + 1)
        for wrong in range(n_inactive + 1)
        if (right / n_active + wrong / n_inactive) / 2 > luck + 1e-12
    )
    assert above <= 0.08
