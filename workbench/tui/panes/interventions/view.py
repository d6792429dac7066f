"""What the console shows: the board's lines with their numbers, and the card of the line under the cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tasks.graphs.edit import Edit, Supernode
from tasks.graphs.edit_ground import EditGround
from tasks.intervene import Params
from workbench.tui.panes.interventions.board import Board, Entry
from workbench.tui.panes.interventions.measuring import Measuring
from workbench.tui.render.bars import signed
from workbench.tui.render.edit_board import BoardLine, BoardSetup, board_line, largest
from workbench.tui.render.features import about
from workbench.tui.render.intervention import outcome_card
from workbench.tui.render.tokens import show_text

NOTHING_YET = """Nothing on the board yet.

a  writes an edit, r measures it:
   ablate L12/345@7
   scale L8/12=3
   steer L8/12=+2max
   swap L4-12/*@-1 from PROMPT
   Tab completes features and supernodes, by name or by what they are about
p  types a prompt
G  takes a graph: its prompt, dictionary, supernodes and predictions
h  goes to the stored interventions

In the graph (3) and among the features (2), a, + and x send edits here."""


@dataclass
class BoardView:
    """The board, what it stands on and what was measured, as lines."""

    board: Board
    ground: EditGround
    measuring: Measuring
    lines: list[BoardLine] = field(default_factory=list)
    """An entry each, and the total of the active ones behind them."""
    _predicted: dict[Edit, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the lines."""
        self.refresh()

    def refresh(self) -> None:
        """Make the lines again: something was measured."""
        entries = self.board.entries
        self.lines = [self._entry_line(index, entry) for index, entry in enumerate(entries)]
        if entries:
            self.lines.append(self._total_line())

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self.lines)

    def line(self, index: int, width: int) -> Text:
        """One line, drawn."""
        return board_line(self.lines[index], width, largest(self.lines))

    def entries_at(self, index: int) -> Sequence[Entry]:
        """What a line measures: an entry, or all active ones."""
        return self.board.entries[index : index + 1] or self.board.active

    def document_at(self, index: int) -> dict[str, Any] | None:
        """What was measured of a line, with the doses if they were; None if nothing."""
        entries = self.entries_at(index)
        documents = self.measuring.documents
        plain = documents.get(self.board.params(entries))
        return documents.get(self.board.params(entries, swept=True), plain) if entries else None

    def runs(self) -> list[Params]:
        """The runs of the active entries, each alone, and of all of them together."""
        active = self.board.active
        alone = [self.board.params([entry]) for entry in active]
        return [*alone, self.board.params(active)] if len(active) > 1 else alone

    def known_runs(self) -> list[Params]:
        """Every run whose result the lines could show."""
        groups = [[entry] for entry in self.board.entries] + ([list(self.board.active)] if self.board.active else [])
        return [self.board.params(entries, swept) for entries in groups for swept in (False, True)]

    @property
    def pair(self) -> tuple[str, str]:
        """The decisive token and its rival: as chosen, the graph's, or as measured; empty where not known yet."""
        options = self.board.options
        documents = (self.document_at(index) for index in range(len(self.lines)))
        measured = next((document for document in documents if document), None)
        if measured is not None:
            return measured["decisive"], measured["rival"]
        graphs = ("", "") if options.target is not None else (self.ground.decisive, self.ground.rival)
        return options.target or graphs[0], options.versus or graphs[1]

    @property
    def setup(self) -> BoardSetup:
        """What the edits have in common."""
        options = self.board.options
        decisive, rival = self.pair
        return BoardSetup(
            prompt=options.prompt or self.ground.prompt,
            decisive=decisive,
            rival=rival,
            against_mean=self.against_mean,
            dictionary=self.ground.dictionary,
            graph=options.graph,
            freeze=options.freeze,
            spelling=options.spelling,
            positions=options.positions,
            source=options.from_ or "",
            doses=self.board.doses,
        )

    @property
    def against_mean(self) -> bool:
        """Whether the board measures against the mean of all logits: what a graph without a rival explains."""
        options, ground = self.board.options, self.ground
        return bool(ground.decisive) and not ground.rival and (options.target, options.versus) == (None, None)

    def measured(self, document: Mapping[str, Any] | None) -> float | None:
        """The change of the board's quantity; None of a run that was not asked for it."""
        if document is None or not self.against_mean:
            return None if document is None else document["delta_logit_difference"]
        means = [document[side].get("mean_logit") for side in ("outcome", "baseline")]
        return None if None in means else document["delta_logit"] - (means[0] - means[1])

    def card(self, index: int, width: int) -> RenderableType:
        """Everything about a line."""
        if not self.lines:
            return Text(NOTHING_YET)
        line = self.lines[index]
        title = Text(show_text(line.edit), style="bold")
        params = self.board.params(self.entries_at(index)) if self.entries_at(index) else None
        fault = self.measuring.faults.get(params) if params else None
        parts: list[RenderableType] = [title, Text(line.words, style="dim")] if line.words else [title]
        document = self.document_at(index)
        if self.against_mean and document is not None:
            parts.append(Text(self._against_mean_words(document)))
        if fault:
            parts.append(Text(f"could not be measured: {show_text(fault)}", style="bold"))
        if document is None:
            return Group(*parts, Text(""), Text(self._unmeasured(line)))
        hint = [] if document["sweep"] else [Text("\nd  draws the dose–response curve", style="dim")]
        return Group(*parts, Text(""), outcome_card(document, width), *hint)

    def _against_mean_words(self, document: Mapping[str, Any]) -> str:
        """The board's number, which the table of logits does not have."""
        values = [
            document[side]["logit"] - document[side]["mean_logit"] if "mean_logit" in document[side] else None
            for side in ("baseline", "outcome")
        ]
        numbers = " → ".join(map(signed, values))
        return f"{self.setup.pair}: {numbers}, change {signed(self.measured(document))} nats"

    def _unmeasured(self, line: BoardLine) -> str:
        if not self.setup.prompt:
            return "p types the prompt, G takes a graph's; then r measures"
        foretold = f"the graph predicts {signed(line.predicted)} nats; " if line.predicted is not None else ""
        todo = {"queued": "waits for the worker", "running": "is being measured", "failed": "r tries again"}
        return foretold + todo.get(line.state, "r measures it" if line.active else "space turns it on, r measures it")

    def _entry_line(self, index: int, entry: Entry) -> BoardLine:
        params = self.board.params([entry])
        document = self.document_at(index)
        predicted = self._of_graph(entry.edit)
        of_run = predicted is None and document is not None and not self.against_mean
        return BoardLine(
            edit=str(entry.edit),
            active=entry.active,
            words=self._words(entry.edit),
            predicted=document["predicted_delta"] if of_run and document is not None else predicted,
            of_run=of_run,
            measured=self.measured(document),
            state=self.measuring.state(params),
        )

    def _total_line(self) -> BoardLine:
        active = self.board.active
        document = self.document_at(len(self.board.entries))
        parts = [self._of_graph(entry.edit) for entry in active]
        known = [part for part in parts if part is not None]
        predicted = sum(known) if known and len(known) == len(parts) else None
        of_run = predicted is None and document is not None and not self.against_mean
        return BoardLine(
            edit=f"all {len(active)} together" if active else "nothing is on",
            predicted=document["predicted_delta"] if of_run and document is not None else predicted,
            of_run=of_run,
            measured=self.measured(document),
            state=self.measuring.state(self.board.params(active)) if active else "",
            is_total=True,
        )

    def _of_graph(self, edit: Edit) -> float | None:
        """What the graph predicts of an edit, where the run measures what the graph explains."""
        options = self.board.options
        explained = (options.target, options.versus, options.freeze, options.spelling) == (None, None, "none", "delta")
        if not explained:
            return None
        if edit not in self._predicted:
            self._predicted[edit] = self.ground.predicted(edit)
        return self._predicted[edit]

    def _words(self, edit: Edit) -> str:
        subject = edit.subject
        if isinstance(subject, Supernode):
            members = self.ground.supernodes.get(subject.name, ())
            return f"{len(members)} features of graph {self.ground.graph}" if members else ""
        if subject.feature is None or len(subject.layers) != 1:
            return ""
        known = self.ground.words.get((subject.layers[0], subject.feature))
        if known is None:
            return ""
        return show_text(known.label) if known.label else about(known.fires_on, [token for token, _ in known.promoted])
