"""Behaviours: prompt sets that ask one thing of a model, each pair with a decisive token and a rival.

A behaviour is a TOML file; a person's own directory of such files works as the workbench's own beside this module does.
What a model can do of them `workbench baseline` says; a file's `[measured]` keeps what was measured of one.
"""

from __future__ import annotations

from pathlib import Path

from store.errors import BadInput
from tasks.behaviours.behaviour import Behaviour, Hypothesis, Kind, Pair, Where
from tasks.behaviours.checking import CheckedBehaviour, CheckedPair, check_behaviour, check_pair, fitting, refuse_first
from tasks.behaviours.reading import read_behaviour

__all__ = [
    "OWN_DIRECTORY",
    "Behaviour",
    "CheckedBehaviour",
    "CheckedPair",
    "Hypothesis",
    "Kind",
    "Pair",
    "Where",
    "check_behaviour",
    "check_pair",
    "choose_behaviours",
    "fitting",
    "load_behaviours",
    "read_behaviour",
    "refuse_first",
]

OWN_DIRECTORY = Path(__file__).parent
"""Where the workbench's own behaviours are."""


def load_behaviours(directory: Path = OWN_DIRECTORY) -> dict[str, Behaviour]:
    """Every behaviour of a directory, by name, sorted. `BadInput` names the file and what is wrong in it."""
    files = sorted(directory.glob("*.toml"))
    if not files:
        raise BadInput(f"there are no behaviours (*.toml) in {directory}", "name a directory that holds some")
    return {file.stem: read_behaviour(file) for file in files}


def choose_behaviours(names: list[str], directory: Path = OWN_DIRECTORY) -> list[Behaviour]:
    """The named behaviours of a directory, in the order of the names; all of them if no name is given."""
    known = load_behaviours(directory)
    for name in names:
        if name not in known:
            raise BadInput(f"no behaviour named {name!r}", f"the behaviours are {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())
