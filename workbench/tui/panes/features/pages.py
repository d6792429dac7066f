"""The rows of a list of any length: ids are all there, rows come page by page when they are seen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
from rich.text import Text

from store.feature_search import Ids
from store.features import FeatureRow
from tasks.graphs.active_features import Activity
from workbench.tui.render.features import feature_line
from workbench.tui.render.tokens import ELLIPSIS

PAGE = 128
"""Rows that are read at once."""
_PAGES_KEPT = 64


class FeaturePages:
    """What a `LineList` of features shows. A row that is not there yet is `…`, and its page is asked for."""

    def __init__(self, ids: Ids, activity: Mapping[int, Activity], wanted: Callable[[int], None]) -> None:
        """The features `ids`, with what each does in the graph that is searched; `wanted` is told which page to read.

        It is called while the screen is drawn, and more than once for the same page.
        """
        self.ids = ids
        self.activity = activity
        self._wanted = wanted
        self._pages: OrderedDict[int, Mapping[int, FeatureRow]] = OrderedDict()

    def __len__(self) -> int:
        """How many features there are."""
        return len(self.ids)

    def line(self, index: int, width: int) -> Text:
        """One feature, or `…`."""
        row = self.row(index)
        if row is None:
            self._wanted(index // PAGE)
            return Text(f"  {ELLIPSIS}", style="dim")
        known = self.activity.get(row.id)
        if known is None:
            return feature_line(row, width, (float("nan"), float("nan")) if self.activity else None)
        return feature_line(row, width, (known.activation, known.predicted_effect))

    def row(self, index: int) -> FeatureRow | None:
        """The feature at a place of the list, if its page was read."""
        page = self._pages.get(index // PAGE)
        return None if page is None else page.get(int(self.ids[index]))

    def ids_of(self, page: int) -> list[int]:
        """The ids of a page's rows."""
        found: list[int] = self.ids[page * PAGE : (page + 1) * PAGE].tolist()
        return found

    def take(self, page: int, rows: Mapping[int, FeatureRow]) -> None:
        """A page was read; the one that was read longest ago gives way."""
        self._pages[page] = rows
        self._pages.move_to_end(page)
        while len(self._pages) > _PAGES_KEPT:
            self._pages.popitem(last=False)

    def missing_near(self, index: int) -> int | None:
        """A page that a key pressed at this place may lead to and that was not read: here, beside it, or at an end."""
        here, last = index // PAGE, (len(self) - 1) // PAGE
        near = (here, here + 1, here - 1, last, 0)
        return next((page for page in near if 0 <= page <= last and page not in self._pages), None)

    def keep_rows_of(self, other: FeaturePages) -> None:
        """The same list again, longer: pages that hold the same ids need not be read again."""
        for page, rows in other._pages.items():
            if self.ids_of(page) == other.ids_of(page):
                self.take(page, rows)

    def index_of(self, feature_id: int) -> int | None:
        """Where a feature stands in the list; None if it is not in it."""
        found = np.flatnonzero(self.ids == feature_id)
        return int(found[0]) if len(found) else None

    def loaded_near(self, index: int) -> list[FeatureRow]:
        """The rows of the page around a place, as far as they were read."""
        return [row for row_id in self.ids_of(index // PAGE) if (row := self._pages.get(index // PAGE, {}).get(row_id))]
