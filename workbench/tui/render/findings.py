"""Findings: what a person kept, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from store.findings import Finding
from workbench.tui.render.facts import plain_table
from workbench.tui.render.tokens import show_text


def finding_line(finding: Finding) -> Text:
    """`2026-11-22 18:40  12  ablating L12/345@7 takes 1.2 nats from ·Austin`."""
    line = Text(f"{finding.created_at[:16].replace('T', ' ')}  ", style="dim", no_wrap=True)
    return line.append(show_text(finding.text), style="not dim")


def provenance_words(finding: Finding) -> str:
    """Where it comes from: `graph 3  node L12/345@7  job 14`."""
    return "  ".join(f"{show_text(str(k))} {show_text(str(v))}" for k, v in finding.provenance.items())


def finding_table(findings: Sequence[Finding]) -> Table:
    """One line a finding."""
    table = plain_table("finding", "kept", "what", "from")
    for finding in findings:
        cells = (str(finding.id), finding.created_at[:16].replace("T", " "), show_text(finding.text))
        table.add_row(*map(Text, (*cells, provenance_words(finding))))
    return table
