"""Interventions: edits of features on a board, what was predicted of them, and what the model does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import on
from textual.binding import BindingType

from store import interventions
from store.errors import BadInput
from store.interventions import InterventionRecord
from tasks.graphs.edit_ground import EditGround
from tasks.intervene import Params
from workbench.tui.actions import bindings
from workbench.tui.messages import EditsSent, Told
from workbench.tui.pane import Session
from workbench.tui.panes.interventions import asking
from workbench.tui.panes.interventions.board import Board, parsed, stored_board, with_sent
from workbench.tui.panes.interventions.board_pane import NOT_STORED
from workbench.tui.panes.interventions.edit_text import check_prompt
from workbench.tui.panes.interventions.keys import ACTIONS, HELP
from workbench.tui.panes.interventions.measuring import KIND
from workbench.tui.panes.interventions.options_pane import OptionsPane
from workbench.tui.panes.interventions.reading import stamp
from workbench.tui.place import Place
from workbench.tui.render.edit_board import board_table, kept_words
from workbench.tui.render.intervention import intervention_view, outcome_card
from workbench.tui.render.intervention_list import History, intervention_table
from workbench.tui.render.tokens import show_text
from workbench.tui.widgets.edit_line import EditLine
from workbench.tui.widgets.line_list import LineList


class Interventions(OptionsPane):
    """The console."""

    TITLE: ClassVar[str] = "Interventions"
    ACTIONS = ACTIONS
    HELP = HELP
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self, session: Session, name: str) -> None:
        """An empty board."""
        super().__init__(session, name)
        self._adopted = Place()
        self._history = History([])
        self._history_card: tuple[int, dict[str, Any]] | None = None

    # What the app tells.

    async def open(self) -> None:
        """Read the history, and what is being measured."""
        await self.measuring.begin()
        await self._read_history()
        await self.stand(self.board)

    async def go(self, place: Place) -> None:
        """Show a stored intervention; or, with an empty board, take the prompt and graph that a person comes from."""
        if place.intervention > 0 and place.intervention != self._shown:
            await self.show_stored(place.intervention)
        else:
            await self.follow(place)

    async def follow(self, place: Place) -> None:
        """An empty board stands on the prompt and graph that another pane looks at."""
        seen = Place(prompt=place.prompt, graph=place.graph, dictionary=place.dictionary)
        if self.board.entries or seen == self._adopted or seen == Place():
            return
        self._adopted = seen
        if place.graph:
            ground = await self._load(self.board.with_options(graph=place.graph, prompt="", dictionary=None))
            if not ground.fault and place.prompt in ("", ground.prompt):
                await self.stand(Board().with_options(graph=place.graph), ground)
                return
        if place.prompt and place.prompt != self.view.ground.prompt:
            check_prompt(place.prompt)
            await self.stand(Board().with_options(prompt=place.prompt, dictionary=place.dictionary or None))

    async def take_edits(self, sent: EditsSent) -> None:
        """Put edits that another pane sends onto the board; a new board if they are of another prompt or graph."""
        board = with_sent(self.board, self.view.ground, sent)
        if self.board.entries and not set(self.board.entries) & set(board.entries):
            self.post_message(
                Told("a new board: these edits are of another prompt, graph or dictionary; ctrl+z undoes")
            )
        ground = await self._load(board)
        for text in sent.edits:
            ground.refuse(parsed(text))
        await self.change(board, ground)
        self.query_one("#board", LineList).cursor = len(board.entries) - 1
        self.focus_main()

    async def store_changed(self) -> None:
        """Results of jobs, stored interventions, supernodes and dictionaries may be others now."""
        await self._collect()
        await self._read_history()
        options = self.board.options
        now = await self.session.store.read(lambda project: stamp(project, options.graph))
        if now != self._stamp:
            self._stamp = now
            await self.stand(self.board)

    async def job_ended(self, job_id: int, kind: str, state: str) -> None:
        """Fill in what was measured."""
        if kind == KIND:
            await self._collect()
            await self._read_history()

    def state(self) -> Mapping[str, Any]:
        """The board, the half-typed edit, the cursor."""
        line = self.query_one(EditLine).text
        return self.board.document() | {
            "line": line, "cursor": self.query_one("#board", LineList).cursor, "shown": self._shown,
        }  # fmt: skip

    async def restore(self, state: Mapping[str, Any]) -> None:
        """The board as it was left, with what the store has measured of it."""
        shown, cursor = state.get("shown", NOT_STORED), state.get("cursor", 0)
        self._shown = shown if isinstance(shown, int) else NOT_STORED
        self.query_one(EditLine).text = str(state.get("line", ""))
        await self.stand(Board.read(state))
        self.query_one("#board", LineList).cursor = cursor if isinstance(cursor, int) else 0

    def exported(self, width: int) -> RenderableType:
        """The board, what the line under the cursor came to, and the history."""
        parts: list[RenderableType] = [board_table(self.view.setup, self.view.lines, width)]
        document = self.view.document_at(self._at)
        if document is not None:
            parts += [Text(f"\n{show_text(self.view.lines[self._at].edit)}\n", style="bold")]
            parts += [intervention_view(document, width)]
        return Group(*parts, Text("\nstored interventions\n", style="bold"), intervention_table(self._history.records))

    def finding(self) -> tuple[str, Mapping[str, Any]] | None:
        """The measured change under the cursor, with the run that it comes from."""
        if self._in_history and self._history_card is not None:
            record = self._record_at()
            if record is None or record.id != self._history_card[0]:
                return None
            return asking.kept(record, self._history_card[1])
        document = self.view.document_at(self._at)
        if document is None:
            return None
        line, setup = self.view.lines[self._at], self.view.setup
        known = {
            "pane": "interventions", "intervention": document["intervention"], "job": document["job"],
            "edit": "; ".join(document["edits"]), "measured": line.measured, "predicted": line.predicted,
            "predicted_by": "run" if line.of_run else "graph", "graph": document["graph"],
            "dictionary": document["dictionary"], "prompt": setup.prompt[: asking.PROMPT_KEPT],
        }  # fmt: skip
        return kept_words(line, setup.pair, setup.prompt), {name: value for name, value in known.items() if value}

    def copied(self) -> str:
        """The edit under the cursor, as it is typed; of the total and of the history all of them, one a line."""
        record = self._record_at() if self._in_history else None
        edits = record.edits if record else [str(entry.edit) for entry in self.view.entries_at(self._at)]
        return "\n".join(edits)

    def focus_main(self) -> None:
        """The board; where there is nothing on it and no history either, the edit line."""
        self.query_one("#board", LineList).focus()

    # What is measured.

    def action_run(self) -> None:
        """Measure each active edit alone, and all of them together."""
        self.soon(lambda: self._measure(self.view.runs()), "run")

    def action_dose(self) -> None:
        """Measure the line under the cursor at several doses."""
        entries = self.view.entries_at(self._at)
        runs = [self.board.params(entries, swept=True)] if entries else []
        self.soon(lambda: self._measure(runs), "run")

    async def _measure(self, runs: Sequence[Params]) -> None:
        """Have these runs made, unless what they need is not there."""
        if not runs:
            raise BadInput("no edit is on", "a writes one, space turns it on")
        self._refuse(runs, await self._load(self.board))
        asked = await self.measuring.ask(runs)
        if asked:
            self.post_message(Told(f"{asked} run{'s' if asked > 1 else ''} of the model asked for"))
        self.draw()

    def _refuse(self, runs: Sequence[Params], ground: EditGround) -> None:
        """`BadInput` in one line for what the model's process would refuse."""
        board = self.board
        if not (board.options.prompt or ground.prompt):
            raise BadInput("there is no prompt yet", "p types one, G takes a graph's")
        if board.options.spelling == "replace" and board.options.freeze == "direct":
            raise BadInput("the replacement model has no direct effects of its own", "press s or f")
        swaps = any(params.swap for params in runs)
        if swaps and not board.options.from_:
            raise BadInput("a swap needs a prompt to take values from", "F types it, or write swap … from PROMPT")
        active = {text for params in runs for text in (*params.ablate, *params.scale, *params.steer, *params.swap)}
        for entry in board.entries:
            if str(entry.edit).split(" ", maxsplit=1)[1] in active:
                ground.refuse(entry.edit)

    def action_rerun(self) -> None:
        """Measure what is under the cursor again."""
        self.soon(self._rerun, "run")

    async def _rerun(self) -> None:
        record = self._record_at() if self._in_history else None
        if record is not None:
            await self.show_stored(record.id)
        document = self.view.document_at(self._at)
        entries = self.view.entries_at(self._at)
        if document is None or not entries:
            raise BadInput("nothing was measured here yet", "r measures it")
        params = self.board.params(entries, swept=document["sweep"] is not None)
        self._refuse([params], await self._load(self.board))
        self.measuring.follow(params, await self.session.worker.retry(document["job"]))
        self.draw()

    async def _collect(self) -> None:
        """Take what jobs have measured since."""
        before = dict(self.measuring.documents)
        ended = await self.measuring.collect()
        for params in ended:
            old, new = before.get(params), self.measuring.documents.get(params)
            if old is not None and new is not None and old is not new:
                numbers = (old["delta_logit_difference"], new["delta_logit_difference"])
                self.post_message(Told(asking.compared("; ".join(new["edits"]), *numbers)))
        if ended or self.measuring.waiting:
            self.draw()

    # What was stored.

    @property
    def _in_history(self) -> bool:
        return self.query_one("#history", LineList).has_focus

    def _record_at(self) -> InterventionRecord | None:
        at = self.query_one("#history", LineList).cursor
        return self._history.records[at] if at < len(self._history.records) else None

    async def _read_history(self) -> None:
        """Read the list again, the cursor staying on its intervention."""
        records = await self.session.store.read(lambda project: interventions.listing(project.db))
        if records == self._history.records:
            return
        here = self._record_at()
        at = next((number for number, record in enumerate(records) if here and record.id == here.id), 0)
        self._history = History(records)
        self.query_one("#history", LineList).show(self._history, at)

    def action_history(self) -> None:
        """To the stored interventions, or back to the board."""
        if self._in_history:
            self.set_class(False, "-history")
            self.query_one("#board", LineList).focus()
            return
        self.set_class(True, "-history")
        history = self.query_one("#history", LineList)
        self.call_after_refresh(history.focus)

    def on_descendant_focus(self) -> None:
        """The card is that of the list with the focus."""
        self.set_class(self._in_history, "-history")
        self._look()

    def _look(self) -> None:
        if self._in_history:
            self.soon(self._look_back, "look")
        else:
            super()._look()

    async def _look_back(self) -> None:
        """The card of the stored intervention under the cursor."""
        record = self._record_at()
        if record is not None:
            _, document = await self.session.store.read(lambda project: interventions.document(project.db, record))
            self._history_card = (record.id, document)
        self._draw_card()

    def card(self, width: int) -> RenderableType:
        """What belongs to the line under the cursor, of whichever list has the focus."""
        if not self._in_history or self._history_card is None:
            return super().card(width)
        number, document = self._history_card
        title = Text(f"intervention {number}, job {document['job']}\n", style="bold")
        return Group(title, outcome_card(document, width))

    @on(LineList.Chosen, "#history")
    def _show_chosen(self, message: LineList.Chosen) -> None:
        """Put it on the board again."""
        message.stop()
        record = self._history.records[message.index]
        self.soon(lambda: self.show_stored(record.id), "board")

    async def show_stored(self, intervention_id: int) -> None:
        """Put a stored intervention on the board, with its options and what it came to."""
        record = await self.session.store.read(lambda project: interventions.find(project.db, intervention_id))
        params, document = await self.session.store.read(lambda project: interventions.document(project.db, record))
        board = stored_board(params, document, self.board.doses)
        self.measuring.documents[board.params(board.active, swept=record.sweep is not None)] = document
        await self.change(board)
        self._shown = intervention_id
        self.looks(Place(intervention=intervention_id))
        lines = self.query_one("#board", LineList)
        lines.cursor = len(board.entries) if len(board.entries) > 1 else 0
        lines.focus()
