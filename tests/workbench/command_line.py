"""Running command lines in this process, as a person would see them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from workbench.cli.main import run


@dataclass(frozen=True)
class Ran:
    """How one command line ended."""

    exit_code: int
    out: str
    err: str


def workbench(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """Run `workbench arguments…` and return its exit code with what it printed."""
    capsys.readouterr()
    exit_code = run(arguments)
    printed = capsys.readouterr()
    return Ran(exit_code, printed.out, printed.err)
