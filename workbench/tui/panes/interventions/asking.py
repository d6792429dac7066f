"""What is asked of a person in the console, and what is kept of what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from store.errors import BadInput
from store.graphs import GraphRecord
from store.interventions import InterventionRecord
from tasks.doses import parse_doses
from workbench.tui.panes.interventions.edit_text import check_prompt
from workbench.tui.render.bars import signed
from workbench.tui.render.edit_board import BoardLine, kept_words
from workbench.tui.render.tokens import fit, show_text, show_token

PROMPT_KEPT = 500
"""Characters of a prompt in a finding's provenance."""
FREEZES = ("none", "attention", "direct")
SPELLINGS = ("delta", "replace")
POSITIONS = ("generated", "prompt")
_LONGEST_TOKEN = 100


def following(values: Sequence[str], value: str) -> str:
    """The value after this one, round and round."""
    return values[(values.index(value) + 1) % len(values)]


def read_target(text: str) -> tuple[str | None, str | None]:
    """`·French|·Spanish` with real spaces: the decisive token and its rival; either may be left out."""
    if len(text) > _LONGEST_TOKEN:
        raise BadInput(f"{len(text):,} characters are no two tokens", "write decisive|rival, as ' French| Spanish'")
    check_prompt(text)
    decisive, bar, rival = text.partition("|")
    if "|" in rival:
        raise BadInput("there is more than one bar", "write decisive|rival, as ' French| Spanish'")
    if bar and decisive and decisive == rival:
        raise BadInput("the decisive token and its rival are the same", "name two different tokens")
    return decisive or None, rival or None


def written_target(decisive: str | None, rival: str | None) -> str:
    """The text that is read as this target."""
    return "" if decisive is None and rival is None else f"{decisive or ''}|{rival or ''}"


def check_doses(text: str) -> None:
    """`BadInput` for what is no sweep."""
    if len(text) > _LONGEST_TOKEN:
        raise BadInput(f"{len(text):,} characters are no doses", "write FIRST..LAST/COUNT, such as -1..3/9")
    parse_doses(text.strip())


def graph_lines(records: Sequence[GraphRecord]) -> list[Text]:
    """Graphs to choose from."""
    return [
        Text(f"{record.id:>4}  {fit(show_text(record.dictionary), 16):<16}  {show_text(record.prompt)}")
        for record in records
    ]


def kept(record: InterventionRecord, document: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A stored intervention as a finding: its sentence, and where it comes from."""
    line = BoardLine("; ".join(record.edits), predicted=record.predicted, measured=record.change)
    known = {
        "pane": "interventions", "intervention": record.id, "job": record.job, "edit": line.edit,
        "measured": record.change, "predicted": record.predicted, "graph": record.graph,
        "dictionary": record.dictionary, "prompt": record.prompt[:PROMPT_KEPT],
    }  # fmt: skip
    pair = f"{show_token(document['decisive'])} − {show_token(document['rival'])}"
    return kept_words(line, pair, record.prompt), {name: value for name, value in known.items() if value}


def compared(edit: str, before: float | None, after: float | None) -> str:
    """What a run that was made again says."""
    same = "as before" if before == after else f"before {signed(before, 6)}"
    return f"measured again: {edit} {signed(after, 6)} nats, {same}"
