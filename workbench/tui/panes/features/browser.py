"""What is seen in the features pane: the search box, the list, the card; and how each is kept up to date."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Input, Static

from store import features
from store.errors import Missing, WorkbenchError
from store.features import FeatureRow
from tasks.dictionaries.public_sets import dashboard
from tasks.graphs.active_features import Search
from workbench.tui.pane import Pane, Session
from workbench.tui.panes.features import reading
from workbench.tui.panes.features.pages import PAGE, FeaturePages
from workbench.tui.place import Place
from workbench.tui.render.feature_card import feature_card
from workbench.tui.render.features import feature_table, list_heading
from workbench.tui.render.tokens import show_text
from workbench.tui.widgets.inert_input import InertInput, meant_form
from workbench.tui.widgets.line_list import LineList

_TYPING_REST_S, _CURSOR_REST_S = 0.12, 0.1
_PAGES_WAITING = 4
_HINT = "words  layer:8-14  density:<1%  label:?  star:  fires-on:Paris  in:GRAPH@POSITION   (F1 explains)"
_NO_FEATURE = "no feature here"


class FeatureBrowser(Pane):
    """Search box, list and card; the list shows what the query finds, the card the feature under the cursor."""

    SCOPED_CSS = False  # `-narrow` is a class of the screen
    DEFAULT_CSS = """
    FeatureBrowser #feature-search { height: 1; border: none; padding: 0 1; background: $boost; }
    FeatureBrowser #feature-said { height: 1; padding: 0 1; color: $text-muted; }
    FeatureBrowser #feature-said.-fault { color: $error; text-style: bold; }
    FeatureBrowser #feature-heading { height: 1; }
    FeatureBrowser #feature-found { width: 1fr; }
    FeatureBrowser #feature-card { width: 52%; border-left: solid $primary; padding: 0 1; }
    FeatureBrowser.-nothing #feature-found { display: none; }
    FeatureBrowser.-nothing #feature-card { width: 1fr; border-left: none; }
    .-narrow FeatureBrowser #feature-card { display: none; width: 1fr; border-left: none; }
    .-narrow FeatureBrowser.-card #feature-card, .-narrow FeatureBrowser.-nothing #feature-card { display: block; }
    .-narrow FeatureBrowser.-card #feature-found { display: none; }
    """

    def __init__(self, session: Session, name: str) -> None:
        """Nothing has been searched yet."""
        super().__init__(session, name)
        self.query_text = ""
        """What is in the search box."""
        self.sort = ""
        self.card: Mapping[str, Any] | None = None
        """The feature that the card shows."""
        self.place = Place()
        """Where this pane, or the pane that it follows, looked last."""
        self._pages = FeaturePages(np.zeros(0, dtype=np.int64), {}, self._want)
        self._wanted: list[int] = []
        self._reading_pages = False
        self._sought: int | None = None
        """The row of a feature that was asked for before the list held it."""
        self._resting: dict[str, Timer] = {}
        self._stamp: reading.Stamp | None = None
        self._searched = ("", "")

    def compose(self) -> ComposeResult:
        """The box, what is said of the search, the list beside the card."""
        yield InertInput("", _HINT, compact=True, id="feature-search")
        yield Static("", id="feature-said")
        with Horizontal():
            with Vertical(id="feature-found"):
                yield Static("", id="feature-heading")
                yield LineList(empty="reading …", id="feature-list")
            with VerticalScroll(id="feature-card"):
                yield Static("", id="feature-text")

    @property
    def entries(self) -> LineList:
        """The list."""
        return self.query_one("#feature-list", LineList)

    @property
    def row(self) -> FeatureRow | None:
        """The feature under the list's cursor, if it was read."""
        at = self.entries.cursor
        return self._pages.row(at) if at < len(self._pages) else None

    # Opening and following.

    async def open(self) -> None:
        """Everything, by layer."""
        self._stamp = await self.session.store.read(reading.stamp)
        await self._search()

    async def go(self, place: Place) -> None:
        """Show the feature that the place names."""
        await self.follow(place)

    async def follow(self, place: Place) -> None:
        """The card and, where the feature is in the list, the cursor go to what the place looks at."""
        before, self.place = self.place, place
        wanted = await self.session.store.read(lambda project: reading.feature_at(project, place, before))
        if wanted is not None:
            await self.show_feature(*wanted)

    async def show_feature(self, dictionary: str, name: str) -> None:
        """Show a feature's card, and put the cursor on it if the list holds it."""
        feature_id = await self.session.store.read(lambda p: reading.indexed_id(p, dictionary, name))
        at = None if feature_id is None else self._pages.index_of(feature_id)
        self._sought = feature_id if at is None else None
        if at is not None:
            with self.prevent(LineList.Moved):
                self.entries.cursor = at
            self._read_on()
        self._stop("cursor")
        await self._show_card(dictionary, name)

    def focus_main(self) -> None:
        """The list; what makes one, where there is none."""
        if self.has_class("-nothing"):
            self.query_one("#feature-card").focus()
        else:
            self.entries.focus()

    def state(self) -> Mapping[str, Any]:
        """The query, the order, and the feature that is shown."""
        shown = {} if self.card is None else {"dictionary": self.card["dictionary"], "feature": self.card["feature"]}
        return {"query": self.query_text, "sort": self.sort, "shown": shown}

    async def restore(self, state: Mapping[str, Any]) -> None:
        """Bring it back."""
        self.sort = str(state.get("sort", ""))
        self._fill(str(state.get("query", "")))
        await self._search()
        shown = state.get("shown")
        if isinstance(shown, dict) and shown.get("feature"):
            await self.show_feature(str(shown.get("dictionary", "")), str(shown["feature"]))

    async def store_changed(self) -> None:
        """Read again what has changed: the features, their labels and stars, or where they occur."""
        now = await self.session.store.read(reading.stamp)
        before, self._stamp = self._stamp, now
        if before is None or now == before:
            return
        if now.features != before.features:
            await self._search()
        elif now.words != before.words:
            await self.refresh_rows()
        if self.card is not None:
            await self._show_card(str(self.card["dictionary"]), str(self.card["feature"]))

    # Searching.

    @on(Input.Changed, "#feature-search")
    def _typed(self, message: Input.Changed) -> None:
        """Search when the fingers rest."""
        message.stop()
        self.query_text = meant_form(message.value)
        self._later("typing", _TYPING_REST_S, lambda: self.soon(self._search, group="search"))

    @on(Input.Submitted, "#feature-search")
    def _entered(self, message: Input.Submitted) -> None:
        """Search now, and go to the list."""
        message.stop()
        self._stop("typing")
        self.soon(self._search, group="search")
        self.entries.focus()

    async def set_query(self, text: str, sort: str = "") -> None:
        """Put a query into the box and search for it."""
        self._fill(text)
        self.sort = sort
        self._stop("typing")
        await self._search()

    def _fill(self, text: str) -> None:
        box = self.query_one("#feature-search", InertInput)
        with self.prevent(Input.Changed):
            box.value = text
        self.query_text = box.meant

    async def _search(self) -> None:
        """Show the beginning of what is found at once, and the whole when it is there."""
        text, store = self.query_text, self.session.store
        if self.sort not in ("", *reading.sorts_for(text)):
            self.sort = ""
        sort = self.sort
        try:
            first = await store.read(lambda project: reading.first_page(project, text, sort))
            nothing = "" if len(first.found.ids) else await store.read(reading.emptiness)
            if bool(nothing) != self.has_class("-nothing"):
                self.set_class(bool(nothing), "-nothing")
                if self.display:
                    self.call_after_refresh(self.focus_main)
            if nothing:
                self._show_nothing(nothing)
                return
            fresh = self._searched != (text, sort)
            self._show_found(first, fresh, "no feature is like that: fewer words or wider filters find more")
            self._searched = (text, sort)
            if len(first.found.ids) == reading.FIRST:
                whole = await store.read(lambda project: reading.whole(project, text, sort))
                self._show_found(whole, False, "")
        except WorkbenchError as error:
            self._say(str(error), fault=True)

    def _show_found(self, search: Search, fresh: bool, empty: str) -> None:
        """The list, the cursor on the first feature of a new query, else where it was."""
        pages = FeaturePages(search.found.ids, search.activity, self._want)
        pages.keep_rows_of(self._pages)
        at = self._place_in(pages, fresh)
        self._pages = pages
        self._head()
        self.entries.show(pages, at, empty)
        words = f"{len(pages):,} features".replace(",", " ")
        if search.found.cut:
            words = f"{words} of the many that match, labelled ones first: another word or filter narrows them"
        self._say(f"{words}, {reading.SORT_WORDS[self.sort] if self.sort else self._natural(search)}")

    def _place_in(self, pages: FeaturePages, fresh: bool) -> int:
        """Where the cursor goes: to the feature that was asked for, else to the one it is on, else to the first."""
        wanted = [self._sought, None if fresh or self.row is None else self.row.id]
        places = (pages.index_of(row_id) for row_id in wanted if row_id is not None)
        at = next((place for place in places if place is not None), None)
        if at is not None:
            self._sought = None
        return at or 0

    def _show_nothing(self, words: str) -> None:
        """There is nothing to search yet: what makes some has all the room."""
        self.card = None
        self._pages = FeaturePages(np.zeros(0, dtype=np.int64), {}, self._want)
        self.entries.show(self._pages)
        self._say("no features yet")
        self.query_one("#feature-text", Static).update(Text(words))

    def _natural(self, search: Search) -> str:
        if search.found.cut:
            return "by layer"
        if search.found.scores:
            return reading.SORT_WORDS[""]
        return reading.SORT_WORDS["activation" if search.activity else "place"]

    def _say(self, words: str, fault: bool = False) -> None:
        said = self.query_one("#feature-said", Static)
        said.set_class(fault, "-fault")
        said.update(Text(f"✗ {show_text(words)}" if fault else show_text(words), no_wrap=True, overflow="ellipsis"))

    def _head(self) -> None:
        width = self.query_one("#feature-heading", Static).size.width
        self.query_one("#feature-heading", Static).update(list_heading(width, bool(self._pages.activity)))

    # Pages.

    def _want(self, page: int) -> None:
        """A page came into sight: read it, the latest that was asked for first."""
        if page in self._wanted:
            return
        self._wanted = [*self._wanted, page][-_PAGES_WAITING:]
        self._read_on()

    def _read_on(self) -> None:
        if not self._reading_pages:
            self._reading_pages = True
            self.call_later(self._read_pages)

    async def _read_pages(self) -> None:
        """The pages in sight, and then those that the next keys may lead to."""
        try:
            while (page := self._wanted[-1] if self._wanted else self._ahead()) is not None:
                pages = self._pages
                in_sight = page in self._wanted
                self._wanted = [other for other in self._wanted if other != page]
                pages.take(page, await self.session.store.read(reading.rows_reader(pages.ids_of(page))))
                if pages is self._pages and in_sight:
                    self.entries.redraw()
                    self._rest_on_cursor()
        except WorkbenchError as error:
            self._say(str(error), fault=True)
        finally:
            self._reading_pages = False

    def _ahead(self) -> int | None:
        return self._pages.missing_near(self.entries.cursor)

    async def refresh_rows(self) -> None:
        """Read the rows in sight again: a label or a star has changed."""
        pages = FeaturePages(self._pages.ids, self._pages.activity, self._want)
        page = self.entries.cursor // PAGE
        pages.take(page, await self.session.store.read(reading.rows_reader(pages.ids_of(page))))
        with self.prevent(LineList.Moved):
            self._pages = pages
            self.entries.show(pages, self.entries.cursor)

    # The card.

    @on(LineList.Moved, "#feature-list")
    def _moved(self, message: LineList.Moved) -> None:
        """The card follows when the cursor rests."""
        message.stop()
        self._read_on()
        self._rest_on_cursor()

    def _rest_on_cursor(self) -> None:
        self._later("cursor", _CURSOR_REST_S, lambda: self.soon(self._look, group="card"))

    async def _look(self) -> None:
        """Show the card of the feature under the cursor, and tell the other panes."""
        row = self.row
        if row is None or (self.card is not None and self.card["id"] == row.id):
            return
        await self._show_card(row.dictionary, row.name)
        if self.display:
            self.place = Place(dictionary=row.dictionary, feature=row.name).over(self.place)
            self.looks(Place(dictionary=row.dictionary, feature=row.name))

    async def _show_card(self, dictionary: str, name: str) -> None:
        try:
            card = await self.session.store.read(lambda p: features.card(p.db, name, dictionary or None))
            page = dashboard(str(card["dictionary"]), int(card["layer"]), int(card["index"]))
            self.card = {**card, "dashboard": page}
        except Missing as error:
            self.card = None
            self.query_one("#feature-text", Static).update(Text(show_text(str(error))))
            return
        self._draw_card()

    def _draw_card(self) -> None:
        if self.card is not None:
            width = self.query_one("#feature-card").scrollable_content_region.width or 60
            card = feature_card(self.card, width, self.app.current_theme.dark)
            self.query_one("#feature-text", Static).update(card)

    def on_resize(self, event: events.Resize) -> None:
        """Card and heading are as wide as their place."""
        self._head()
        self.call_after_refresh(self._draw_card)

    # For the app.

    def exported(self, width: int) -> RenderableType:
        """The query, the page of the list around the cursor, and the card."""
        rows = self._pages.loaded_near(self.entries.cursor) if len(self._pages) else []
        said = Text(f"features: {show_text(self.query_text) or 'all'}\n", style="bold")
        table = feature_table([row.document() for row in rows])
        return Group(said, table, Text(""), feature_card(self.card, width) if self.card else Text(_NO_FEATURE))

    def copied(self) -> str:
        """The feature's name."""
        return str(self.card["feature"]) if self.card else ""

    def _later(self, what: str, seconds: float, then: Any) -> None:
        self._stop(what)
        self._resting[what] = self.set_timer(seconds, then)

    def _stop(self, what: str) -> None:
        with suppress(KeyError):
            self._resting.pop(what).stop()
