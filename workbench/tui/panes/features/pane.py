"""The features pane: its keys, and what they do to a feature or ask of the other panes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import BindingType
from textual.widgets import Input

from store import labels
from store.errors import WorkbenchError
from store.features import find
from tasks.feature_neighbours import neighbours
from workbench.tui.actions import Action, bindings
from workbench.tui.messages import Asked, EditsSent, Told, Went
from workbench.tui.panes.features import reading
from workbench.tui.panes.features.judging import FeatureJudging
from workbench.tui.panes.features.words import HELP
from workbench.tui.place import Place
from workbench.tui.render.bars import number, percent
from workbench.tui.render.features import neighbour_line
from workbench.tui.render.tokens import fit, show_text, show_token
from workbench.tui.screens.choice import Choice
from workbench.tui.screens.question import Question
from workbench.tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from store.project import Project

_IN_GRAPHS = re.compile(r"\s*\b(?:not-)?in:\S*")
_NEIGHBOURS = 12


class Features(FeatureJudging):
    """Search, read, label, have judged, star; send to the console or to a graph."""

    TITLE: ClassVar[str] = "Features"
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("search", "slash", "Search: words, layer:8-14, density:<1%, label:?, …", "search"),
        Action("sort", "s", "Sort by the next order", "sort"),
        Action("label", "e", "Say what the feature means (at most 200 characters)", "label", changes=True),
        Action(
            "judge", "l", "Have a judge label this feature or the list, and score the labels", "judge", changes=True
        ),
        Action("star", "asterisk", "Star the feature, or take the star away", "star", changes=True),
        Action("neighbours", "n", "Features like this one", "like it"),
        Action("graph", "g", "Show it in a graph where it is kept", "graph"),
        Action("ablate", "a", "Send its ablation to the intervention console", "ablate"),
        Action("steer", "plus", "Send a steer by its maximum to the intervention console"),
        Action("contrast", "c", "Features active in one graph and not in another", "contrast"),
        Action("example", "t", "Features active on a token of a graph", "on token"),
        Action("read", "space", "Read the card, or go back to the list", "card"),
        Action("index", "i", "Index a dictionary set or the neurons: describe each feature", changes=True),
        Action("quality", "r", "The report of the set's quality: dead, dense, alike, bound to a token", "report"),
        Action("clear", "escape", "Leave the search box or the card; take the search away"),
    )
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)
    HELP: ClassVar[str] = HELP

    def finding(self) -> tuple[str, Mapping[str, Any]] | None:
        """How often and how strongly the feature is active."""
        card = self.card
        if card is None:
            return None
        label = f" ({card['label']})" if card["label"] else ""
        text = (
            f"{card['dictionary']} {card['feature']}{label} is active on {percent(card['density'], 2)} of tokens,"
            f" maximum {number(card['maximum'], 2)}"
        )
        place = Place(pane="features", dictionary=str(card["dictionary"]), feature=str(card["feature"]))
        return text, place.document() | {"density": card["density"], "maximum": card["maximum"]}

    # Finding.

    def action_search(self) -> None:
        """Type in the box."""
        self.query_one("#feature-search").focus()

    async def action_sort(self) -> None:
        """The next of the orders that suit the query."""
        orders = reading.sorts_for(self.query_text)
        at = orders.index(self.sort) if self.sort in orders else 0
        self.sort = orders[(at + 1) % len(orders)]
        self.soon(self._search, group="search")

    async def action_clear(self) -> None:
        """Out of the box, out of the card, then back to everything."""
        box, card = self.query_one("#feature-search", Input), self.query_one("#feature-card")
        if box.has_focus or card.has_focus or self.has_class("-card"):
            self.remove_class("-card")
            self.entries.focus()
        elif self.query_text:
            self.soon(lambda: self.set_query(""), group="search")

    @on(LineList.Chosen, "#feature-list")
    def _chosen(self, message: LineList.Chosen) -> None:
        """Enter reads the card."""
        message.stop()
        self.action_read()

    def action_read(self) -> None:
        """The focus goes to the card, which takes the room of the list where there is little."""
        card = self.query_one("#feature-card")
        if card.has_focus:
            self.remove_class("-card")
            self.entries.focus()
            return
        self.add_class("-card")
        self.call_after_refresh(card.focus)
        self.call_after_refresh(self._draw_card)

    @work
    async def action_contrast(self) -> None:
        """Two graphs: where features are active, and where they are not."""
        graphs = await self.session.store.read(reading.searchable_graphs)
        if len(graphs) < 2:
            self._refuse("a contrast needs two graphs of a dictionary set", "trace two prompts with one")
            return
        here = next((i for i, graph in enumerate(graphs) if graph.graph == self.place.graph), 0)
        on_ = await self.app.push_screen_wait(Choice("Active in which graph?", _graph_lines(graphs), here))
        if on_ is None:
            return
        rest = [graph for graph in graphs if graph.dictionary == graphs[on_].dictionary and graph is not graphs[on_]]
        other = next((i for i, graph in enumerate(rest) if graph.prompt != graphs[on_].prompt), 0)
        if not rest:
            self._refuse("there is no other graph of that dictionary set", "trace another prompt with it")
            return
        off = await self.app.push_screen_wait(Choice("And not active in which?", _graph_lines(rest), other))
        if off is not None:
            await self._search_in(f"in:{graphs[on_].graph} not-in:{rest[off].graph}")

    @work
    async def action_example(self) -> None:
        """A token of the graph that is looked at, or of the newest one."""
        graphs = await self.session.store.read(reading.searchable_graphs)
        if not graphs:
            self._refuse("no graph of a dictionary set to take a token from", "trace a prompt with one")
            return
        graph = next((each for each in graphs if each.graph == self.place.graph), graphs[0])
        lines = [Text(f"{at:>4}  {show_token(token)}") for at, token in enumerate(graph.tokens)]
        words = f"Active on which token of graph {graph.graph}?"
        at = await self.app.push_screen_wait(Choice(words, lines, len(lines) - 1))
        if at is not None:
            await self._search_in(f"in:{graph.graph}@{at}")

    async def _search_in(self, filters: str) -> None:
        """Search with these graphs in place of those that the query names."""
        rest = _IN_GRAPHS.sub("", self.query_text).strip()
        await self.set_query(f"{filters} {rest}".strip(), "activation")
        self.entries.focus()

    @work
    async def action_neighbours(self) -> None:
        """The features like this one; the chosen one is shown."""
        card = self.card
        if card is None:
            self.app.bell()
            return

        def read(project: Project) -> dict[str, Any]:
            record = find(project.db, str(card["feature"]), str(card["dictionary"]))
            return neighbours(project, record, _NEIGHBOURS).document()

        try:
            found = await self.session.store.read(read)
        except WorkbenchError as error:
            self.post_message(Told(str(error), error=True))
            return
        rows = [*found["by_decoder"], *found["by_tokens"]]
        lines = [neighbour_line(row, 94) for row in rows]
        title = f"Like {card['feature']}: by decoder cosine in its layer, by promoted tokens in the others"
        chosen = await self.app.push_screen_wait(Choice(show_text(title), lines))
        if chosen is not None:
            row = rows[chosen]
            self.post_message(Went(Place("features", dictionary=row["dictionary"], feature=row["feature"])))

    # Writing.

    @work
    async def action_label(self) -> None:
        """Ask for the label and write it at once."""
        card = self.card
        if card is None:
            self.app.bell()
            return
        words = f"What does {card['dictionary']} {card['feature']} mean? Empty takes the label away."
        answer = await self.app.push_screen_wait(
            Question(show_text(words), str(card["label"]), check=labels.check_label)
        )
        if answer is not None and await self._noted(lambda p: labels.set_label(p.db, card["id"], answer)):
            await self._reread()

    async def action_star(self) -> None:
        """Star it, or not any more."""
        card = self.card
        if card is None:
            self.app.bell()
            return
        where = (int(card["dictionary_id"]), int(card["index"]))
        if await self._noted(lambda p: labels.set_star(p.db, *where, not card["starred"])):
            await self._reread()

    async def _noted(self, write: Callable[[Project], object]) -> bool:
        """Write rows; whether that went well, and if not, a line."""
        try:
            await self.session.store.note(write)
        except WorkbenchError as error:
            self.post_message(Told(str(error), error=True))
            return False
        return True

    async def _reread(self) -> None:
        """The list and the card say what was just written."""
        await self.refresh_rows()
        if self.card is not None:
            await self._show_card(str(self.card["dictionary"]), str(self.card["feature"]))

    # The other panes and the worker.

    def action_graph(self) -> None:
        """The graph that is looked at if the feature is kept there, else the newest."""
        node = self._node()
        if self.card is None or node is None:
            self._refuse("this feature is kept in no graph", "`in:` shows what is active in one")
            return
        name = f"{self.card['feature']}@{node['position']}"
        place = Place("graph", graph=node["graph"], node=name, prompt=node["prompt"])
        self.post_message(Went(place))

    def action_ablate(self) -> None:
        """`ablate L12/345@7`."""
        self._send("ablate {}")

    def action_steer(self) -> None:
        """`steer L12/345@7=+1max`."""
        self._send("steer {}=+1max")

    def _send(self, edit: str) -> None:
        if self.card is None:
            self.app.bell()
            return
        node, name = self._node(), str(self.card["feature"])
        dictionary = str(self.card["dictionary"])
        if node is None:
            self.post_message(EditsSent((edit.format(name),), self.place.prompt, 0, dictionary))
        else:
            edits = (edit.format(f"{name}@{node['position']}"),)
            self.post_message(EditsSent(edits, node["prompt"], node["graph"], dictionary))

    @work
    async def action_index(self) -> None:
        """Have the worker index a set or the neurons; which, is asked."""
        names = await self.session.store.read(reading.unindexed)
        if not names:
            self._refuse("every dictionary set is indexed", "`workbench index` does it anew")
            return
        chosen = await self.app.push_screen_wait(Choice("Index which set?", [Text(show_text(n)) for n in names]))
        if chosen is not None:
            self.post_message(Asked("index", {"dictionary": names[chosen]}, f"indexing {names[chosen]}"))

    def _node(self) -> Mapping[str, Any] | None:
        """Where the feature is kept: in the graph and at the node that is looked at, if it is there."""
        nodes = list(self.card["graphs"]) if self.card is not None else []
        here = [node for node in nodes if node["graph"] == self.place.graph]
        named = [node for node in here if self.place.node.endswith(f"@{node['position']}")]
        return next(iter([*named, *here, *nodes]), None)

    def _refuse(self, fault: str, mend: str) -> None:
        self.post_message(Told(f"{fault}; {mend}", error=True))


def _graph_lines(graphs: list[reading.GraphChoice]) -> list[Text]:
    return [Text(f"{each.graph:>4}  {fit(show_text(each.prompt), 80)}") for each in graphs]
