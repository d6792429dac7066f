"""Stored interventions as a list: when, which edits, what they did."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from store.interventions import InterventionRecord
from workbench.tui.render.bars import signed
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import fit, show_text

_EDITS_SHOWN = 20
_PROMPT_SHOWN = 60


def edits_words(record: InterventionRecord) -> str:
    """The edits in one line, inert; `∿` marks those that were measured at several doses."""
    more = f", … {len(record.edits) - _EDITS_SHOWN} more" if len(record.edits) > _EDITS_SHOWN else ""
    return ("∿ " if record.sweep else "") + show_text(", ".join(record.edits[:_EDITS_SHOWN])) + more


def intervention_line(record: InterventionRecord, width: int) -> Text:
    """`  12  11-22 14:03  −0.546  ablate L12/345@7   The official language of …` in `width` cells."""
    head = f"{record.id:>5}  {record.at[5:16].replace('T', ' ')} {signed(record.change):>8}  "
    room = max(width - cell_len(head), 8)
    edits = fit(edits_words(record), room if width < 90 else max(room // 2, 8))
    line = Text(head + edits, no_wrap=True)
    left = room - cell_len(edits) - 2
    if left > 8:
        line.append("  " + fit(show_text(record.prompt), left), style="dim")
    return line


class History:
    """The stored interventions as lines."""

    def __init__(self, records: Sequence[InterventionRecord]) -> None:
        """`records`, newest first."""
        self.records = records

    def __len__(self) -> int:
        """How many there are."""
        return len(self.records)

    def line(self, index: int, width: int) -> Text:
        """One of them, drawn."""
        return intervention_line(self.records[index], width)


def intervention_table(records: Sequence[InterventionRecord]) -> Table:
    """One line an intervention; changes of the logit difference in nats."""
    table = plain_table("id", "measured", "change", "first order", "edits", "prompt")
    for column in (1, 2, 3):
        table.columns[column].justify = "right"
        table.columns[column].no_wrap = True
    for record in records:
        when = record.at[:16].replace("T", " ")
        numbers = (signed(record.change), signed(record.predicted))
        texts = (edits_words(record), fit(show_text(record.prompt), _PROMPT_SHOWN))
        table.add_row(*map(Text, (str(record.id), when, *numbers, *texts)))
    return table
