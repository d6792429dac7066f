"""The options of a run: the prompt, the graph, the target, what is held; each behind a key."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from store import graphs
from store.errors import BadInput
from tasks.graphs.edit_ground import dictionary_names
from tasks.graphs.feature_name import FeatureName
from workbench.tui.messages import Went
from workbench.tui.panes.interventions import asking
from workbench.tui.panes.interventions.board import Board
from workbench.tui.panes.interventions.board_pane import BoardPane
from workbench.tui.panes.interventions.edit_text import check_prompt
from workbench.tui.place import Place
from workbench.tui.render.tokens import show_text
from workbench.tui.screens.choice import Choice
from workbench.tui.screens.question import Question


class OptionsPane(BoardPane):
    """The board with keys for its options."""

    def action_prompt(self) -> None:
        """Type another prompt."""
        prompt = self.view.setup.prompt
        self._ask("The prompt", prompt, check_prompt, lambda text: self.board.with_prompt(text, self.view.ground))

    def action_target(self) -> None:
        """Choose the decisive token and its rival."""
        options = self.board.options
        words = "Decisive token | its rival, spaces counting (nothing: the graph's, or the most probable ones)"
        written = asking.written_target(options.target, options.versus)

        def targeted(text: str) -> Board:
            decisive, rival = asking.read_target(text)
            return self.board.with_options(target=decisive, versus=rival)

        self._ask(words, written, asking.read_target, targeted, " French| Spanish")

    def action_source(self) -> None:
        """Choose the prompt that swaps take their values from."""
        suggested = self.board.options.from_ or next(iter(self._prompts), "")
        words = "The prompt that swaps take their values from; it has as many tokens"
        self._ask(words, suggested, check_prompt, lambda text: self.board.with_options(from_=text or None))

    def action_sweep(self) -> None:
        """Choose the doses."""
        words = "Doses as FIRST..LAST/COUNT: 0 is no edit, 1 the edit as written"

        def swept(text: str) -> Board:
            return Board(self.board.options, self.board.entries, text.strip())

        self._ask(words, self.board.doses, asking.check_doses, swept)

    def action_freeze(self) -> None:
        """Hold nothing, attention patterns, or all but the direct path."""
        value = asking.following(asking.FREEZES, self.board.options.freeze)
        self._change(self.board.with_options(freeze=value))

    def action_spelling(self) -> None:
        """Keep the dictionary\'s error, or run the replacement model."""
        value = asking.following(asking.SPELLINGS, self.board.options.spelling)
        self._change(self.board.with_options(spelling=value))

    def action_positions(self) -> None:
        """Let edits at every position reach generated tokens, or not."""
        value = asking.following(asking.POSITIONS, self.board.options.positions)
        self._change(self.board.with_options(positions=value))

    def action_dictionary(self) -> None:
        """Choose the dictionary whose features are edited."""
        self.soon(self._choose_dictionary, "ask")

    async def _choose_dictionary(self) -> None:
        names = await self.session.store.read(dictionary_names)
        now = self.view.ground.dictionary
        at = names.index(now) if now in names else 0
        chosen = await self.app.push_screen_wait(
            Choice("Which features are edited?", [Text(show_text(name)) for name in names], at)
        )
        if chosen is None or names[chosen] == now:
            return
        prompt = self.view.setup.prompt
        options = {"dictionary": names[chosen], "graph": None, "prompt": prompt}
        await self.change(self.board.with_options(**options))

    def action_stand_on_graph(self) -> None:
        """Choose a graph."""
        self.soon(self._choose_graph, "ask")

    async def _choose_graph(self) -> None:
        records = await self.session.store.read(lambda project: graphs.listing(project.db))
        if not records:
            raise BadInput("there is no graph in this project yet", "trace a prompt among the baselines (1)")
        now = self.board.options.graph
        at = next((number for number, record in enumerate(records) if record.id == now), 0)
        chosen = await self.app.push_screen_wait(Choice("Which graph?", asking.graph_lines(records), at))
        if chosen is not None:
            options = {"graph": records[chosen].id, "prompt": "", "dictionary": None, "target": None, "versus": None}
            await self.change(self.board.with_options(**options))

    def action_open_graph(self) -> None:
        """Show the feature under the cursor in the graph."""
        self._open("graph")

    def action_open_feature(self) -> None:
        """Show its card."""
        self._open("features")

    def _open(self, pane: str) -> None:
        entry = self._entry
        place = Place() if entry is None else self.place_of(entry.edit)
        is_feature = entry is not None and isinstance(entry.edit.subject, FeatureName) and bool(place.feature)
        if not is_feature or (pane == "graph" and not place.graph):
            self.app.bell()
            return
        self.post_message(Went(Place(**place.document() | {"pane": pane})))

    def _change(self, board: Board) -> None:
        self.soon(lambda: self.change(board), "board")

    def _ask(
        self, words: str, value: str, check: Callable[[str], object], changed: Callable[[str], Board], hint: str = ""
    ) -> None:
        """Ask for a line, and change the board by it."""

        async def ask() -> None:
            text = await self.app.push_screen_wait(Question(words, value, hint, check))
            if text is not None:
                await self.change(changed(text))

        self.soon(ask, "ask")
