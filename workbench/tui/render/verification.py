"""What verifying a pack found: what was changed, and job by job each number expected beside the one that came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.packs.expected import headlines
from workbench.tui.render.facts import facts, plain_table
from workbench.tui.render.tokens import show_text

MOST_SHOWN = 20
"""Moved numbers of a job listed; the rest is counted."""


def verification_view(document: Mapping[str, Any], every: bool = False) -> Group:
    """Hashes, then what was changed, then the numbers (with `every`, all of them), then the verdict in words."""
    opening: dict[str, object] = {
        "written": f"{document['created_at']} by workbench {document['workbench']}",
        "files": f"{document['files']}, every hash is right",
        "left out": f"{len(document['left_out'])} files" if document["left_out"] else None,
    }
    if "jobs" not in document:
        return Group(facts(opening), Text("every hash is right; nothing was computed", style="bold"))
    tolerance, model = document["tolerance"], document["model"]
    compared = "made again and compared" if document["documents_compared"] else "not compared: another version's"
    opening |= {
        "documents": compared,
        "model": f"{model['here'] - len(model['differing'])} of {model['files']} files are the packer's, byte for byte",
        "numbers": f"{document['numbers']} computed again",
        "tolerance": f"{tolerance['absolute']:g} + {tolerance['relative']:g} of the number",
    }
    changed = [Text(f"changed: {show_text(each['name'])} {show_text(each['what'])}") for each in document["altered"]]
    tables = [part for job in document["jobs"] for part in _job(job, every)]
    return Group(facts(opening), *changed, *tables, Text(verdict(document), style="bold"))


def verdict(document: Mapping[str, Any]) -> str:
    """What a person may conclude."""
    skipped = f"; {document['skipped']} jobs were skipped" if document["skipped"] else ""
    if document["verified"]:
        return f"verified: every number that was computed came out again{skipped}"
    failed = sum(job["outcome"] == "failed" for job in document["jobs"])
    faults = [
        f"{len(document['altered'])} parts were changed" if document["altered"] else "",
        f"{document['moved']} numbers moved by more than the tolerance" if document["moved"] else "",
        f"{failed} jobs failed" if failed else "",
        f"nothing was computed: {show_text(document['reason'])}" if not document["computed"] else "",
    ]
    return f"not verified: {', '.join(filter(None, faults))}{skipped}"


def _job(job: Mapping[str, Any], every: bool) -> Iterator[RenderableType]:
    title = Text(f"job {job['job']} {show_text(job['kind'])}: {job['outcome']}", style="bold")
    if job["reason"]:
        title.append(f" ({show_text(job['reason'])})", style="not bold")
    yield title
    if not job["results"]:
        return
    shown = job["results"] if every else _headlines(job)
    yield _numbers(shown)
    if rest := len(job["results"]) - len(shown):
        yield Text(f"… {rest} more numbers, {len(job['moved'])} of all outside the tolerance (--every, --json)")


def _headlines(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The numbers that stand for the rest, then those that moved."""
    by_name = {result["number"]: result for result in job["results"]}
    names = headlines(job["kind"], by_name)
    return [
        *(by_name[name] for name in names),
        *[one for one in job["moved"] if one["number"] not in names][:MOST_SHOWN],
    ]


def _numbers(results: list[Mapping[str, Any]]) -> Table:
    table = plain_table("number", "expected", "got", "tolerance", "", right=1)
    for result in results:
        numbers = [_shown(result[key]) for key in ("expected", "got", "tolerance")]
        table.add_row(Text(show_text(result["number"])), *map(Text, numbers), Text("" if result["holds"] else "moved"))
    return table


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}".replace("-", "−")
