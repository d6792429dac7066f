"""What a person types to find features is read as meant, or refused in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput
from store.feature_query import Bound, FeatureQuery, GraphPart, parse_query


def test_words_and_every_filter_are_read() -> None:
    query = parse_query(
        'paris "new york" layer:8-10,14 set:"my set" kind:sae density:<1% max:2-5 label:capital star: fires-on:Paris '
        'fires-on:" Lyon" in:5@-1 not-in:6'
    )
    assert query == FeatureQuery(
        words=("paris", "new york"),
        layers=frozenset({8, 9, 10, 14}),
        dictionary="my set",
        kind="sae",
        density=(Bound("<", 0.01),),
        maximum=(Bound(">=", 2.0), Bound("<=", 5.0)),
        label_words=("capital",),
        starred=True,
        fires_on=(("Paris", " Paris"), (" Lyon",)),
        active_in=(GraphPart(5, -1),),
        inactive_in=(GraphPart(6),),
    )


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("density:<1%", (Bound("<", 0.01),)),
        ("density:≥0.1%", (Bound(">=", 0.001),)),
        ("density:>1e-3", (Bound(">", 0.001),)),
        ("density:0", (Bound("=", 0.0),)),
        ("density:0.1-1%", (Bound(">=", 0.001), Bound("<=", 0.01))),
        ("density:>.5 density:<=0.9", (Bound(">", 0.5), Bound("<=", 0.9))),
    ],
)
def test_densities_are_shares_or_per_cent(text: str, bounds: tuple[Bound, ...]) -> None:
    found = parse_query(text).density
    assert [each.operator for each in found] == [each.operator for each in bounds]
    assert [each.value for each in found] == pytest.approx([each.value for each in bounds])


def test_labels_are_asked_for_by_presence_or_by_word() -> None:
    assert parse_query("label:?").labelled is False
    assert parse_query("label:*").labelled is True
    assert parse_query('label:"capital city"').label_words == ("capital", "city")


def test_two_layer_filters_leave_what_both_allow() -> None:
    assert parse_query("layer:1-5 layer:4-9").layers == frozenset({4, 5})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour:red", "there is no filter colour:"),
        ("http://x", "there is no filter http:"),
        ("layer:", "names no layers"),
        ("layer:9-3", "runs backwards; write layer:3-9"),
        ("layer:x", "names no layers"),
        ("density:lots", "is no range"),
        ("density:", "is no range"),
        ("kind:nerves", "is no kind of dictionary"),
        ("star:yes", "nothing after it"),
        ("set:", "names no dictionary set"),
        ("fires-on:", "names no token"),
        ("label:", "asks nothing"),
        ("in:", "names no graph"),
        ("not-in:5@x", "names no graph"),
        ("x" * 1001, "give at most 1000"),
    ],
)
def test_a_bad_filter_is_refused_in_one_line_that_says_how_it_is_written(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        parse_query(text)
    assert "\n" not in str(caught.value)


def test_words_in_quotes_are_never_filters() -> None:
    assert parse_query('"layer:8" "http://x"').words == ("layer:8", "http://x")


@given(st.text(st.sampled_from('abL:"\\-<>%@?*0159 \x1b\0é') | st.characters(), max_size=60))
def test_no_text_is_more_than_a_query_or_a_refusal(text: str) -> None:
    try:
        query = parse_query(text)
    except BadInput as error:
        assert error.mend
        return
    assert query.is_everything == (not text.split())
