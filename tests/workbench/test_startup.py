"""Words come at once: help loads none of the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "textual", "sqlite_utils", "transformers", "nnsight", "numpy", "networkx")
_SCRIPT = """
import json, sys
from workbench.cli.main import run
code = run(sys.argv[1:])
print(json.dumps(sorted(m for m in sys.modules if "." not in m)), file=sys.stderr)
sys.exit(code)
"""


def modules_after(*arguments: str) -> set[str]:
    """The top-level modules that a fresh process has loaded after one command line."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_given_a_call_for_words_when_run_then_no_heavy_library_is_loaded(arguments: tuple[str, ...]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


def test_given_every_tasks_params_when_read_then_no_heavy_library_is_loaded() -> None:
    script = (
        "import sys; from tasks.registry import TASKS; print([t.params_type for t in TASKS.values()]);"
        "print(*(m for m in sys.modules if '.' not in m))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.splitlines()[-1].split()) & set(HEAVY)


@pytest.mark.parametrize(
    "arguments", [("init", "--help"), ("features", "search", "--help"), ("trace", "--help"), ("graph", "--help")]
)
def test_given_a_commands_help_when_run_then_no_heavy_library_is_loaded(arguments: tuple[str, ...]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


def test_given_the_store_when_imported_then_sqlite_utils_comes_once_and_without_numpy_and_pandas() -> None:
    script = (
        "import sys, store.project; from sqlite_utils import Database; from store import sqlite_rows;"
        "assert Database is sqlite_rows.Database; print(*sys.modules); import numpy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numpy", "pandas"}
