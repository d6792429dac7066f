"""Behaviours: prompt sets that ask one thing of a model, each pair with a decisive token and a rival.

A behaviour is a TOML file; those beside this module were kept because the embedded model can do them (measured,
`tests/tasks/test_baseline.py`). A person's own directory of such files works the same way.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput

if TYPE_CHECKING:
    from tasks.model.language_model import LanguageModel

OWN_DIRECTORY = Path(__file__).parent
"""Where the workbench's own behaviours are."""
_BEHAVIOUR_KEYS = {"title", "paper_section", "claimed_circuit", "pair"}
_PAIR_KEYS = {"clean", "corrupt", "decisive", "rival", "concept"}


@dataclass(frozen=True)
class Pair:
    """A clean prompt and its corrupt twin, which differ in what decides the next token."""

    clean: str
    decisive: str
    """The token that the clean prompt should give, with its leading space; empty if nothing is asked."""
    corrupt: str | None = None
    rival: str | None = None
    """The token that the corrupt prompt should give."""
    concept: str | None = None
    """The intermediate concept that a circuit should contain."""


@dataclass(frozen=True)
class Behaviour:
    """A prompt set under one name."""

    name: str
    """The name of its file, without the suffix."""
    title: str
    paper_section: str
    """The section of the paper (Lindsey et al. 2025) whose case study it follows, or empty."""
    claimed_circuit: str
    """What the paper, or the literature it cites, says the model does inside."""
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class CheckedPair:
    """A pair in the tokens of one model."""

    clean: tuple[int, ...]
    corrupt: tuple[int, ...] | None
    decisive: int | None
    rival: int | None

    @property
    def equal_length(self) -> bool:
        """Whether the two prompts have as many tokens, which a swap needs."""
        return self.corrupt is not None and len(self.clean) == len(self.corrupt)


def check_pair(model: LanguageModel, pair: Pair) -> CheckedPair:
    """The pair's tokens; `BadInput` if the decisive or rival text is not one token (its tokens are named)."""
    return CheckedPair(
        clean=tuple(model.tokenize(pair.clean)),
        corrupt=None if pair.corrupt is None else tuple(model.tokenize(pair.corrupt)),
        decisive=model.single_token(pair.decisive) if pair.decisive else None,
        rival=None if pair.rival is None else model.single_token(pair.rival),
    )


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


def read_behaviour(file: Path) -> Behaviour:
    """One behaviour from its TOML file."""
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{file} cannot be read ({error})", "a behaviour is a TOML file") from error
    _check_keys(document, _BEHAVIOUR_KEYS, {"title", "pair"}, str(file))
    rows = document["pair"]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{file} has no pairs", "write each as a [[pair]] table")
    return Behaviour(
        name=file.stem,
        title=document["title"],
        paper_section=document.get("paper_section", ""),
        claimed_circuit=document.get("claimed_circuit", ""),
        pairs=tuple(_read_pair(row, f"{file}, pair {number}") for number, row in enumerate(rows)),
    )


def _read_pair(row: dict[str, Any], where: str) -> Pair:
    _check_keys(row, _PAIR_KEYS, {"clean", "decisive"}, where)
    if ("corrupt" in row) != ("rival" in row):
        raise BadInput(f"{where} has only one of corrupt and rival", "give both or neither")
    return Pair(**row)


def _check_keys(table: dict[str, Any], known: set[str], needed: set[str], where: str) -> None:
    for key in sorted(needed - table.keys()):
        raise BadInput(f"{where} has no {key!r}", f"its keys are {', '.join(sorted(known))}")
    for key, value in table.items():
        if key not in known:
            raise BadInput(f"{where} has an unknown key {key!r}", f"its keys are {', '.join(sorted(known))}")
        if key != "pair" and not (isinstance(value, str) and value.strip()):
            raise BadInput(f"{where} has a {key} that is not text", "write it as a non-empty string")
