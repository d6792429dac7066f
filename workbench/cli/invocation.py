"""What the global options say, and how a command gets at its project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from store.location import locate

if TYPE_CHECKING:
    from store.project import Project


@dataclass(frozen=True)
class Invocation:
    """The global options of one command line."""

    project: Path | None = None


def project_directory(ctx: typer.Context) -> Path:
    """The directory of the project that the command line means; `Missing` if there is none."""
    invocation: Invocation = ctx.obj
    return locate(invocation.project)


def open_project(ctx: typer.Context, write: bool = False, work: bool = True) -> Project:
    """The project that the command line means, open; a context manager that closes it.

    With `write` and without `work` rows can be noted while another process works on the project.
    """
    from store.project import Project

    return Project.open(project_directory(ctx), write=write, work=work)
