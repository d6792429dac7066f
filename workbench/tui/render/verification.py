"""What verifying a pack found: job by job, how many numbers came out again, and which did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from workbench.tui.render.bars import number
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text

MOST_SHOWN = 20
"""Moved numbers listed; the rest is counted."""


def verification_view(document: Mapping[str, Any]) -> Group:
    """Hashes, then the numbers computed again, then the verdict in words."""
    if "jobs" not in document:
        return Group(facts({"files": document["files"]}), Text("every hash is right", style="bold"))
    tolerance = document["tolerance"]
    summary = facts(
        {
            "files": f"{document['files']}, every hash is right",
            "numbers computed again": document["numbers"],
            "tolerance": f"{tolerance['absolute']:g} + {tolerance['relative']:g} of the number",
        }
    )
    words = "verified: every number came out again"
    if not document["verified"]:
        words = f"not verified: {document['moved']} numbers moved by more than the tolerance"
    return Group(summary, _jobs(document), Text(words, style="bold"), *_moved(document))


def _jobs(document: Mapping[str, Any]) -> Table:
    table = plain_table("job", "kind", "numbers", "largest difference", right=2)
    for job in document["jobs"]:
        row = (str(job["job"]), job["kind"], str(job["numbers"]), number(job["largest_difference"]))
        table.add_row(*map(Text, row))
    return table


def _moved(document: Mapping[str, Any]) -> list[Text]:
    lines = [
        Text(f"job {job['job']} {show_text(str(one['number']))}: was {one['then']}, is {one['now']}")
        for job in document["jobs"]
        for one in job["moved"]
    ]
    rest = len(lines) - MOST_SHOWN
    return lines[:MOST_SHOWN] + ([Text(f"… {rest} more")] if rest > 0 else [])
