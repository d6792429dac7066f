"""What a person types to find features: words and filters, read into a `FeatureQuery`.

paris capital           words of labels, example contexts and promoted tokens; the last also as a beginning
"new york"              words in quotes are no filter, whatever they hold, and stand beside each other
layer:8-14,20           layers
set:NAME  kind:sae      the dictionary set, the kind of dictionary
density:<1%             share of tokens it is active on: <1%, >=0.001, 0.1%-1%, 0 (silent)
max:>10                 largest activation
label:?  label:*        without a label, with one;  label:capital  with that word in the label
star:                   starred
fires-on:" Paris"       a token of its strongest examples; without quotes also with a space before it
in:5  in:5@7  in:5@-1   active in graph 5, at a position of its prompt
not-in:6                not active in graph 6
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from store.errors import BadInput

LONGEST = 1000
"""Characters of a query."""
_PIECE = re.compile(r'([A-Za-z][A-Za-z-]*):("(?:[^"\\]|\\.)*"|\S*)|"((?:[^"\\]|\\.)*)"|(\S+)')
_LAYERS = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")
_NUMBER = r"(\d+(?:\.\d*)?(?:e-?\d+)?|\.\d+)(%?)"
_COMPARED = re.compile(rf"(<=|>=|<|>|=|≤|≥)?{_NUMBER}")
_BETWEEN = re.compile(rf"{_NUMBER}-{_NUMBER}")
_GRAPH = re.compile(r"(\d{1,9})(?:@(-?\d{1,6}))?")
_OPERATORS = {"≤": "<=", "≥": ">=", "": "="}
KINDS = ("sae", "transcoder", "neurons")


@dataclass(frozen=True)
class Bound:
    """`OPERATOR value`, as SQL compares."""

    operator: str
    value: float


@dataclass(frozen=True)
class GraphPart:
    """A graph, or one position of its prompt (negative: from the end)."""

    graph: int
    position: int | None = None


@dataclass(frozen=True)
class FeatureQuery:
    """What was asked. Whatever is empty or None asks nothing."""

    words: tuple[str, ...] = ()
    layers: frozenset[int] | None = None
    dictionary: str | None = None
    kind: str | None = None
    density: tuple[Bound, ...] = ()
    """All of them hold, of the share of tokens."""
    maximum: tuple[Bound, ...] = ()
    labelled: bool | None = None
    label_words: tuple[str, ...] = ()
    starred: bool = False
    fires_on: tuple[tuple[str, ...], ...] = ()
    """Of each group one token, exactly as it stands in the vocabulary."""
    active_in: tuple[GraphPart, ...] = ()
    """Active in all of these."""
    inactive_in: tuple[GraphPart, ...] = field(default=())
    """Active in none of these."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing is asked."""
        return self == FeatureQuery()


def parse_query(text: str) -> FeatureQuery:
    """Read what was typed; `BadInput` names the filter at fault and how it is written."""
    if len(text) > LONGEST:
        raise BadInput(f"a search of {len(text)} characters", f"give at most {LONGEST}")
    query = FeatureQuery()
    for match in _PIECE.finditer(text):
        name, value, quoted, word = match.groups()
        if name is None:
            query = replace(query, words=(*query.words, word if quoted is None else _unquoted(f'"{quoted}"')))
        elif name not in _FILTERS:
            known = " ".join(f"{each}:" for each in _FILTERS)
            raise BadInput(f"there is no filter {name}:", f"the filters are {known}; words with a colon go in quotes")
        else:
            query = _FILTERS[name](query, value)
    return query


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if len(value) > 1 and value.startswith('"') else value


def _layer(query: FeatureQuery, value: str) -> FeatureQuery:
    if not _LAYERS.fullmatch(value):
        raise BadInput(f"layer:{value} names no layers", "write layer:8 or layer:8-14,20")
    layers: set[int] = set()
    for part in value.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            raise BadInput(f"layer:{value} runs backwards", f"write layer:{last}-{first}")
        layers.update(range(int(first), int(last or first) + 1))
    return replace(query, layers=frozenset(layers) if query.layers is None else query.layers & layers)


def _set(query: FeatureQuery, value: str) -> FeatureQuery:
    if not _unquoted(value):
        raise BadInput("set: names no dictionary set", "write set:sae; `workbench dictionaries list` shows them")
    return replace(query, dictionary=_unquoted(value))


def _kind(query: FeatureQuery, value: str) -> FeatureQuery:
    if value not in KINDS:
        raise BadInput(f"kind:{value} is no kind of dictionary", f"write {' or '.join(f'kind:{k}' for k in KINDS)}")
    return replace(query, kind=value)


def _density(query: FeatureQuery, value: str) -> FeatureQuery:
    return replace(query, density=query.density + _bounds("density", value, "density:<1%, density:0.1%-1%, density:0"))


def _maximum(query: FeatureQuery, value: str) -> FeatureQuery:
    return replace(query, maximum=query.maximum + _bounds("max", value, "max:>10 or max:2-5"))


def _bounds(name: str, value: str, how: str) -> tuple[Bound, ...]:
    if between := _BETWEEN.fullmatch(value):
        low, low_unit, high, high_unit = between.groups()
        return (Bound(">=", _share(low, low_unit or high_unit)), Bound("<=", _share(high, high_unit)))
    compared = _COMPARED.fullmatch(value)
    if compared is None:
        raise BadInput(f"{name}:{value} is no range", f"write {how}")
    operator = compared[1] or ""
    return (Bound(_OPERATORS.get(operator, operator), _share(compared[2], compared[3])),)


def _share(digits: str, unit: str) -> float:
    return float(digits) / 100 if unit else float(digits)


def _label(query: FeatureQuery, value: str) -> FeatureQuery:
    if value in ("?", "*"):
        return replace(query, labelled=value == "*")
    words = tuple(_unquoted(value).split())
    if not words:
        raise BadInput("label: asks nothing", "write label:? (none), label:* (some) or label:WORD")
    return replace(query, label_words=query.label_words + words)


def _star(query: FeatureQuery, value: str) -> FeatureQuery:
    if value:
        raise BadInput(f"star:{value} is not understood", "write star: and nothing after it")
    return replace(query, starred=True)


def _fires_on(query: FeatureQuery, value: str) -> FeatureQuery:
    token = _unquoted(value)
    if not token:
        raise BadInput("fires-on: names no token", 'write fires-on:Paris, or fires-on:" Paris" with its space')
    spellings = (token,) if value.startswith('"') else (token, f" {token}")
    return replace(query, fires_on=(*query.fires_on, spellings))


def _graph_part(name: str, value: str) -> GraphPart:
    match = _GRAPH.fullmatch(value)
    if match is None:
        raise BadInput(f"{name}:{value} names no graph", f"write {name}:5, or {name}:5@7 for one position of graph 5")
    return GraphPart(int(match[1]), None if match[2] is None else int(match[2]))


def _in(query: FeatureQuery, value: str) -> FeatureQuery:
    return replace(query, active_in=(*query.active_in, _graph_part("in", value)))


def _not_in(query: FeatureQuery, value: str) -> FeatureQuery:
    return replace(query, inactive_in=(*query.inactive_in, _graph_part("not-in", value)))


_FILTERS: dict[str, Callable[[FeatureQuery, str], FeatureQuery]] = {
    "layer": _layer, "set": _set, "kind": _kind, "density": _density, "max": _maximum, "label": _label,
    "star": _star, "fires-on": _fires_on, "in": _in, "not-in": _not_in,
}  # fmt: skip
