"""Reading behaviour files; every fault is one line that names the file, the place in it and the mend."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from store.errors import BadInput
from tasks.behaviours.behaviour import Behaviour, Hypothesis, Kind, Pair, Where

_TEXTS = {"title", "paper_section", "claimed_circuit", "system"}
_BEHAVIOUR_KEYS = {*_TEXTS, "chat", "measured", "pair", "hypothesis"}
_PAIR_KEYS = {"clean", "corrupt", "decisive", "rival", "concept", "rival_concept", "prefill", "group"}
_HYPOTHESIS_KEYS = {"kind", "claim", "where", "depth", "probe"}
_GROUPS = 2
"""So many groups, and concepts in both, at the least, for anything to be shared."""
_Choice = TypeVar("_Choice", bound=StrEnum)


def read_behaviour(file: Path) -> Behaviour:
    """One behaviour from its TOML file."""
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{file} cannot be read ({error})", "a behaviour is a TOML file") from error
    where = str(file)
    _check_keys(document, _BEHAVIOUR_KEYS, {"title", "pair"}, where)
    _check_texts(document, _TEXTS, where)
    chat = document.get("chat", False)
    if not isinstance(chat, bool):
        raise BadInput(f"{where} has a chat that is neither true nor false", "write chat = true, or leave it away")
    rows = _tables(document, "pair", where)
    if not rows:
        raise BadInput(f"{where} has no pairs", "write each as a [[pair]] table")
    pairs = [_read_pair(row, f"{where}, pair {number}") for number, row in enumerate(rows)]
    _check_pairs(pairs, where)
    if not chat and (document.get("system") or any(pair.prefill for pair in pairs)):
        raise BadInput(f"{where} has a system text or a prefill, and is no chat", "add chat = true")
    rows = _tables(document, "hypothesis", where)
    return Behaviour(
        name=file.stem,
        title=document["title"],
        paper_section=document.get("paper_section", ""),
        claimed_circuit=document.get("claimed_circuit", ""),
        pairs=tuple(pairs),
        hypotheses=tuple(_read_hypothesis(r, pairs, f"{where}, hypothesis {n}") for n, r in enumerate(rows)),
        chat=chat,
        system=document.get("system", ""),
        measured=_measured(document.get("measured", {}), where),
    )


def _read_pair(row: dict[str, Any], where: str) -> Pair:
    _check_keys(row, _PAIR_KEYS, {"clean", "decisive"}, where)
    _check_texts(row, _PAIR_KEYS, where)
    if ("corrupt" in row) != ("rival" in row):
        raise BadInput(f"{where} has only one of corrupt and rival", "give both or neither")
    pair = Pair(**row)
    if pair.clean == pair.corrupt:
        raise BadInput(f"{where} has the same clean and corrupt prompt", "change what decides the next token")
    if pair.decisive == pair.rival:
        raise BadInput(f"{where} has the same decisive and rival token", "name what each prompt should give")
    return pair


def _check_pairs(pairs: Iterable[Pair], where: str) -> None:
    seen: dict[tuple[str | None, ...], int] = {}
    for number, pair in enumerate(pairs):
        first = seen.setdefault((pair.clean, pair.corrupt, pair.decisive, pair.prefill), number)
        if first != number:
            raise BadInput(f"{where}, pair {number} is pair {first} again", "leave one of them away")


def _read_hypothesis(row: dict[str, Any], pairs: list[Pair], where: str) -> Hypothesis:
    _check_keys(row, _HYPOTHESIS_KEYS, {"kind", "claim"}, where)
    _check_texts(row, {"kind", "claim", "where", "probe"}, where)
    found = Hypothesis(
        kind=_choice(Kind, row["kind"], "kind", where),
        claim=row["claim"],
        where=_choice(Where, row.get("where", Where.ANYWHERE), "where", where),
        depth=_depth(row.get("depth", [0, 1]), where),
        probe=row.get("probe", Hypothesis.probe),
    )
    if found.probe.count("{}") != 1:
        raise BadInput(f"{where} has a probe without one {{}}", "write {} where the concept stands")
    if found.kind in (Kind.SWAP, Kind.CONCEPT) and any(pair.corrupt is None for pair in pairs):
        raise BadInput(f"{where} swaps, and a pair has no corrupt prompt", "give every pair a corrupt prompt")
    if found.kind is Kind.CONCEPT and not all(pair.concept and pair.rival_concept for pair in pairs):
        raise BadInput(
            f"{where} is about concepts, and a pair has no concept or no rival_concept", "give every pair both"
        )
    if found.kind is Kind.SHARED:
        _check_groups(pairs, where)
    return found


def _check_groups(pairs: list[Pair], where: str) -> None:
    groups = {pair.group for pair in pairs}
    if "" in groups or any(pair.concept is None for pair in pairs) or len(groups) < _GROUPS:
        raise BadInput(
            f"{where} compares groups, and a pair has no group or concept", "give every pair both, in two groups"
        )
    everywhere = set.intersection(*({str(p.concept) for p in pairs if p.group == group} for group in groups))
    if len(everywhere) < _GROUPS:
        raise BadInput(
            f"{where} compares groups that have less than two concepts in common", "give each group the same"
        )


def _choice(choices: type[_Choice], value: str, key: str, where: str) -> _Choice:
    if value not in set(choices):
        raise BadInput(f"{where} has an unknown {key} {value!r}", f"it is one of {', '.join(choices)}")
    return choices(value)


def _depth(value: Any, where: str) -> tuple[float, float]:
    numbers = isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    if not numbers or len(value) != 2 or not 0 <= value[0] < value[1] <= 1:
        raise BadInput(f"{where} has a depth that is not two rising parts of 1", "write depth = [0.2, 0.8]")
    return float(value[0]), float(value[1])


def _measured(table: Any, where: str) -> tuple[tuple[str, float], ...]:
    parts = isinstance(table, dict) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in table.values()
    )
    if not parts:
        raise BadInput(f"{where} has a measured that is not parts of 1", 'write [measured], then "MODEL" = 0.75')
    return tuple((str(model), float(share)) for model, share in table.items())


def _tables(document: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    rows = document.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{where} has a {key} that is no table", f"write each as a [[{key}]] table")
    return rows


def _check_keys(table: dict[str, Any], known: set[str], needed: set[str], where: str) -> None:
    for key in sorted(needed - table.keys()):
        raise BadInput(f"{where} has no {key!r}", f"its keys are {', '.join(sorted(known))}")
    for key in table:
        if key not in known:
            raise BadInput(f"{where} has an unknown key {key!r}", f"its keys are {', '.join(sorted(known))}")


def _check_texts(table: dict[str, Any], texts: set[str], where: str) -> None:
    for key, value in table.items():
        if key in texts and not (isinstance(value, str) and value.strip()):
            raise BadInput(f"{where} has a {key} that is not text", "write it as a non-empty string")
