"""The rows of a long list: pages that the next key may lead to are read before it is pressed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.features import FeatureRow
from workbench.tui.panes.features.pages import PAGE, FeaturePages


def row(row_id: int) -> FeatureRow:
    return FeatureRow(row_id, "made", 0, row_id, "", 0.1, 1.0, [], [], False)


@given(n=st.integers(0, 20 * PAGE), index=st.integers(0, 20 * PAGE))
def test_given_a_place_when_its_missing_pages_are_read_then_every_key_from_there_finds_its_rows(
    n: int, index: int
) -> None:
    asked: list[int] = []
    pages = FeaturePages(np.arange(1, n + 1), {}, asked.append)
    index = min(index, max(n - 1, 0))
    order = []
    while (page := pages.missing_near(index)) is not None:
        assert page not in order
        order.append(page)
        pages.take(page, {row_id: row(row_id) for row_id in pages.ids_of(page)})
    assert len(order) <= 5
    if n:
        assert order[0] == index // PAGE
        reached = [0, n - 1, *(index + step for step in (-PAGE, -43, -1, 0, 1, 43, PAGE) if 0 <= index + step < n)]
        assert all(pages.row(at) is not None for at in reached)
    assert asked == []
