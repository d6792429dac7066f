"""What a machine offers: one line a finding, a cross and the mend where something is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tasks.machine import Finding
from workbench.tui.render.tokens import show_text


def machine_table(findings: Sequence[Finding]) -> Table:
    """`✓ name value`, or `✗ name value — mend`."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        mark = Text("✗", style="red") if finding.mend else Text("✓", style="green")
        words = finding.value + (f" — {finding.mend}" if finding.mend else "")
        table.add_row(mark, Text(finding.name), Text(show_text(words), overflow="fold"))
    return table
