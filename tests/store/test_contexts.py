"""Contexts of examples survive packing as well as their values need, and nothing else is taken for them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.contexts import Context, pack_contexts, texts_of, unpack_contexts
from store.errors import Damaged

VALUES = st.just(math.nan) | st.just(0.0) | st.floats(2**-10, 1e4, width=32)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    tokens = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
    values = draw(st.lists(VALUES, min_size=len(tokens), max_size=len(tokens)))
    places = st.integers(0, 2**32 - 1)
    return Context(
        draw(places), draw(places), draw(st.floats(0, 1e4, width=32)), tuple(tokens), tuple(values),
        draw(st.integers(0, len(tokens) - 1)),
    )  # fmt: skip


@given(st.lists(contexts(), max_size=8))
def test_contexts_survive_packing_with_activations_to_half_a_254th_of_the_largest(given_: list[Context]) -> None:
    read = unpack_contexts(pack_contexts(given_))
    scale = max((value for each in given_ for value in each.values if not math.isnan(value)), default=0.0)
    assert len(read) == len(given_)
    for before, after in zip(given_, read, strict=True):
        assert (after.document, after.position, after.activation) == (
            before.document,
            before.position,
            before.activation,
        )
        assert (after.tokens, after.at) == (before.tokens, before.at)
        for value, kept in zip(before.values, after.values, strict=True):
            assert math.isnan(value) == math.isnan(kept)
            if not math.isnan(value):
                assert (value > 0) == (kept > 0)
                assert abs(value - kept) <= scale / 254 * 1.01


def test_eight_contexts_of_seventeen_tokens_take_less_than_a_kilobyte() -> None:
    many = [
        Context(i, 30, 5.0, tuple(range(1000 * i, 1000 * i + 17)), tuple(0.3 * j for j in range(17)), 12)
        for i in range(8)
    ]
    assert len(pack_contexts(many)) < 700


@given(st.binary(max_size=50))
def test_other_bytes_are_damaged(packed: bytes) -> None:
    with pytest.raises(Damaged, match="blob of contexts"):
        unpack_contexts(packed)


def test_a_token_without_a_stored_text_is_shown_by_its_id() -> None:
    [document] = texts_of([Context(1, 2, 3.0, (7, 9), (0.0, 3.0), 1)], {7: " a"})
    assert document["tokens"] == [" a", "<9>"]
