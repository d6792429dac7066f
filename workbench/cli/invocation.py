"""What the global options say, and how a command gets at its project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from store.project import Project


@dataclass(frozen=True)
class Invocation:
    """The global options of one command line."""

    project: Path | None = None


def open_project(ctx: typer.Context, write: bool = False) -> Project:
    """The project that the command line means, open; a context manager that closes it."""
    from store.project import Project

    invocation: Invocation = ctx.obj
    return Project.open(Project.locate(invocation.project), write=write)
