"""The board: edits that are on or off, and everything else that a run of them needs. Values; nothing is run here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from store.errors import BadInput
from tasks.graphs.edit import Edit, parse_line
from tasks.graphs.edit_ground import EditGround
from tasks.intervene import Params
from workbench.tui.messages import EditsSent
from workbench.tui.panes.interventions.edit_text import check_edit_text, check_prompt

DOSES = "-1..3/9"
"""The doses of a curve until a person names others."""
MOST_EDITS = 500
_EDITS = ("ablate", "scale", "steer", "swap")


@dataclass(frozen=True)
class Entry:
    """A line of the board."""

    edit: Edit
    active: bool = True


@dataclass(frozen=True)
class Board:
    """Edits and options. `options` are the params of `workbench intervene` without any edits."""

    options: Params = field(default_factory=Params)
    entries: tuple[Entry, ...] = ()
    doses: str = DOSES

    @property
    def active(self) -> tuple[Entry, ...]:
        """The entries that are on."""
        return tuple(entry for entry in self.entries if entry.active)

    def params(self, entries: Sequence[Entry], swept: bool = False) -> Params:
        """The params of a run of just these entries; equal runs have equal params."""
        texts: dict[str, list[str]] = {name: [] for name in _EDITS}
        for entry in entries:
            texts[entry.edit.operation].append(str(entry.edit).split(" ", maxsplit=1)[1])
        changed: dict[str, Any] = {name: tuple(found) for name, found in texts.items()}
        changed["from_"] = self.options.from_ if texts["swap"] else None
        changed["sweep"] = self.doses if swept else None
        return self.options.model_copy(update=changed)

    def with_options(self, **changed: Any) -> Board:
        """The board under other options."""
        return replace(self, options=self.options.model_copy(update=changed))

    def with_entry(self, entry: Entry, at: int | None = None) -> Board:
        """The board with one entry more, or with another in the place `at`. `BadInput` if it stands there already."""
        others = [each.edit for number, each in enumerate(self.entries) if number != at]
        if entry.edit in others:
            raise BadInput(f"{entry.edit} is on the board already", "change that line with e")
        if len(self.entries) >= MOST_EDITS and at is None:
            raise BadInput(f"the board has {MOST_EDITS} edits", "remove some, or write ranges: ablate L4-12/*")
        if at is None:
            return replace(self, entries=(*self.entries, entry))
        return replace(self, entries=(*self.entries[:at], entry, *self.entries[at + 1 :]))

    def without(self, at: int) -> Board:
        """The board without the entry at `at`."""
        return replace(self, entries=(*self.entries[:at], *self.entries[at + 1 :]))

    def toggled(self, at: int) -> Board:
        """The board with the entry at `at` turned on or off."""
        entry = self.entries[at]
        return self.with_entry(replace(entry, active=not entry.active), at)

    def with_prompt(self, prompt: str, ground: EditGround) -> Board:
        """The board on another prompt: a graph of another prompt is left, its dictionary stays."""
        check_prompt(prompt)
        if self.options.graph is not None and prompt == ground.prompt:
            return self.with_options(prompt="")
        return self.with_options(prompt=prompt, graph=None, dictionary=ground.dictionary, target=None, versus=None)

    def document(self) -> dict[str, Any]:
        """The board as JSON."""
        entries = [{"edit": str(entry.edit), "active": entry.active} for entry in self.entries]
        return {"options": self.options.model_dump(mode="json"), "entries": entries, "doses": self.doses}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Board:
        """The board of a document; what cannot be read is left out."""
        try:
            options = Params.model_validate(document.get("options", {}))
            entries = tuple(
                Entry(parsed(str(each["edit"])), bool(each["active"])) for each in document.get("entries", [])
            )
        except (ValidationError, BadInput, KeyError, TypeError):
            return cls()
        return cls(without_edits(options), entries, str(document.get("doses", DOSES)))

    def key(self) -> str:
        """Equal for equal boards."""
        return json.dumps(self.document(), sort_keys=True)


def parsed(text: str) -> Edit:
    """One edit, without a comment; `BadInput` for anything else."""
    check_edit_text(text)
    edit = parse_line(text)
    if edit is None:
        raise BadInput("there is no edit", "write one, such as ablate L12/345@7")
    return edit


def without_edits(params: Params) -> Params:
    """The options of a run, its edits taken away."""
    nothing: dict[str, Any] = dict.fromkeys(_EDITS, ())
    return params.model_copy(update=nothing | {"edits": None, "sweep": None})


def stored_board(params: Mapping[str, Any], document: Mapping[str, Any], doses: str = DOSES) -> Board:
    """The board of a stored intervention: the edits as its document has them, whatever file they came from."""
    options = Params.model_validate(dict(params))
    entries = tuple(Entry(parsed(text)) for text in document["edits"])
    return Board(without_edits(options), entries, options.sweep or doses)


def with_sent(board: Board, ground: EditGround, sent: EditsSent) -> Board:
    """The board with edits from another pane; a new one if they are of another prompt, graph or dictionary.

    Edits that stand on it already are turned on.
    """
    check_prompt(sent.prompt)
    moved = _base(board, ground, sent)
    for text in sent.edits:
        edit = parsed(text)
        at = next((number for number, entry in enumerate(moved.entries) if entry.edit == edit), None)
        moved = moved.with_entry(Entry(edit), at)
    return moved


def _base(board: Board, ground: EditGround, sent: EditsSent) -> Board:
    """The board that the edits are put on."""
    same_prompt = sent.prompt in ("", ground.prompt)
    same_dictionary = sent.dictionary in ("", ground.dictionary)
    options = board.options
    if sent.graph and sent.graph != options.graph:
        kept = board.entries if same_prompt and same_dictionary and options.graph is None else ()
        changed = {"graph": sent.graph, "prompt": "", "dictionary": None}
        return replace(board.with_options(**changed, target=None, versus=None), entries=kept)
    if same_prompt and same_dictionary:
        return board
    prompt = sent.prompt or ground.prompt
    moved = board.with_options(
        prompt=prompt, graph=None, dictionary=sent.dictionary or ground.dictionary, target=None, versus=None
    )
    return replace(moved, entries=())
