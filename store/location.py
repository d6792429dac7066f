"""Where a project is: found without opening it, and without what opening needs."""

from __future__ import annotations

import os
from pathlib import Path

from store.errors import Missing

DATABASE_NAME = "project.db"
"""What makes a directory a project."""
PROJECT_VARIABLE = "WORKBENCH_PROJECT"
"""The environment variable that names the project when no option does."""


def locate(explicit: Path | None = None) -> Path:
    """The project directory meant: `explicit`, $WORKBENCH_PROJECT, or the nearest one upward from here.

    Raises `Missing` if there is none.
    """
    named = explicit or named_by_variable()
    here = Path.cwd()
    for candidate in [named] if named else [here, *here.parents]:
        if (candidate / DATABASE_NAME).is_file():
            return candidate
    where = f"in {named}" if named else "here or in any directory above"
    raise Missing(f"no project {where}", "`workbench init DIR` makes one, --project DIR names one")


def named_by_variable() -> Path | None:
    """The directory that $WORKBENCH_PROJECT names, if it names one."""
    value = os.environ.get(PROJECT_VARIABLE)
    return Path(value) if value else None
