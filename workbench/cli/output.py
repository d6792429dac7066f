"""What a command prints: one document or one view on stdout, and lines for the person on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from store.json_numbers import finite
from workbench.tui.render.tokens import show_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from store.project import Project


def emit(kind: str, document: dict[str, Any], project: Project, as_json: bool) -> None:
    """Print the document of a task of that kind, or the view of it."""
    if as_json:
        emit_json(document)
    else:
        from workbench.cli.views import task_view

        emit_view(task_view(kind, document, project, stdout_console().width))


def emit_json(document: dict[str, Any]) -> None:
    """Print one JSON document; anything beyond ASCII is escaped, so that it is as inert as any other view."""
    print(json.dumps(finite(document), indent=2))


def emit_job_id(job_id: int, as_json: bool) -> None:
    """Print the id of a job that was queued."""
    if as_json:
        emit_json({"job": job_id})
    else:
        print(job_id)


def emit_view(view: RenderableType) -> None:
    """Print a view."""
    stdout_console().print(view)


def narrate(line: str) -> None:
    """Say one line on stderr."""
    print(show_text(line), file=sys.stderr)


def stdout_console() -> Console:
    """The console for data: the terminal's width, or 80 columns (or $COLUMNS) into a file; nothing is markup."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)
