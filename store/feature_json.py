"""Features as Neuronpedia and circuit-tracer read them: one JSON file a feature, taken in from others and given away.

The file is `NUMBER.json`, where the number is Cantor's of (layer, feature), as in their graphs. Schema: circuit-tracer,
`feature_models.py` (feature-details).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import contexts, labels
from store.errors import BadInput
from store.search import encodable, index_feature

if TYPE_CHECKING:
    from sqlite_utils import Database

LARGEST_FILE = 16 << 20
"""Bytes of one feature's file."""
_MOST_TOKENS = 255
_FIRST_OWN_TOKEN = 1 << 31
"""Ids from here on stand for token texts of other programs, which give no ids."""
_FIRES_ON, _IN_SEARCH = 5, 5
_ACTIVITY = "activation_frequency"


def cantor(layer: int, feature: int) -> int:
    """The one number of a pair."""
    return (layer + feature) * (layer + feature + 1) // 2 + feature


def place_of(number: int) -> tuple[int, int]:
    """(layer, feature) of a Cantor number."""
    diagonal = (math.isqrt(8 * number + 1) - 1) // 2
    feature = number - diagonal * (diagonal + 1) // 2
    return diagonal - feature, feature


def feature_document(card: Mapping[str, Any]) -> dict[str, Any]:
    """The file of one feature, from its card (`store.features.card`); examples without texts are left out.

    `mean`, `label` and `label_scores` are keys of our own, which others pass over.
    """
    quantiles = [("Top activations", card["contexts"] or [])]
    for part in card.get("quantiles") or []:
        quantiles.append((f"Quantile {part['from']:.1f} to {part['to']:.1f}", part["contexts"]))
    scores = card["labels"][0].get("scores", []) if card["labels"] else []
    return {
        "transcoder_id": card["dictionary"],
        "index": cantor(card["layer"], card["index"]),
        "examples_quantiles": [
            {"quantile_name": name, "examples": [_example_document(context) for context in found]}
            for name, found in quantiles
            if found
        ],
        "top_logits": [token for token, _ in card["promoted"]],
        "bottom_logits": [token for token, _ in card["suppressed"]],
        "act_min": 0.0,
        "act_max": card["maximum"],
        "quantile_values": [],
        "histogram": [float(count) for count in card["histogram"]],
        _ACTIVITY: card["density"],
        "mean": card["mean"],
        "label": card["label"],
        "label_scores": scores,
    }


def _example_document(context: Mapping[str, Any]) -> dict[str, Any]:
    values = [0.0 if value is None or math.isnan(value) else value for value in context["values"]]
    return {
        "tokens": list(context["tokens"]),
        "tokens_acts_list": values,
        "train_token_ind": context["at"],
        "is_repeated_datapoint": False,
    }


@dataclass(frozen=True)
class ForeignExample:
    """A context of another program: texts, and the activation on each."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    at: int


@dataclass(frozen=True)
class ForeignFeature:
    """A feature as another program describes it."""

    layer: int
    feature: int
    density: float | None
    maximum: float
    mean: float | None
    promoted: list[str]
    suppressed: list[str]
    examples: list[ForeignExample]
    """Strongest first."""
    label: str


def read_feature(path: Path) -> ForeignFeature:
    """The feature of one file; `BadInput` names the file, and what is wrong with it."""
    mend = "give files as circuit-tracer and Neuronpedia write them: NUMBER.json with examples_quantiles"
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(f"{path.name} is larger than a feature's file can be", mend)
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path.name} cannot be read ({type(error).__name__})", mend) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadInput(f"{path.name} is no feature ({type(error).__name__}: {str(error)[:80]})", mend) from error


def _parsed(document: Mapping[str, Any]) -> ForeignFeature:
    layer, feature = place_of(_whole(document["index"]))
    found = [_example(example) for quantile in document["examples_quantiles"] for example in quantile["examples"]]
    examples = sorted(dict.fromkeys(found), key=lambda example: -max(example.values))
    return ForeignFeature(
        layer,
        feature,
        _share(document[_ACTIVITY]) if _ACTIVITY in document else None,
        max(_finite(document["act_max"]), 0.0),
        _finite(document["mean"]) if "mean" in document else None,
        [_text(token) for token in document["top_logits"]],
        [_text(token) for token in document["bottom_logits"]],
        examples,
        labels.check_label(_text(document.get("label") or "")),
    )


def _example(document: Mapping[str, Any]) -> ForeignExample:
    tokens = tuple(_text(token) for token in document["tokens"])
    values = tuple(_finite(value) for value in document["tokens_acts_list"])
    if not tokens or len(tokens) != len(values):
        raise ValueError("an example has other numbers of tokens and of activations")
    at = max(range(len(values)), key=lambda place: values[place])
    first = max(0, min(at - _MOST_TOKENS // 2, len(tokens) - _MOST_TOKENS))
    kept = slice(first, first + _MOST_TOKENS)
    return ForeignExample(tokens[kept], values[kept], at - first)


def store_feature(db: Database, dictionary_id: int, found: ForeignFeature, source: str) -> int:
    """Describe a feature of a set by what another program says of it; the id of its row.

    Inside the caller's transaction. What the file says takes the place of what an index said; what it does not say
    stays: moments, neighbours, places in the corpus, the histogram (the file names no bins for its own), the logits of
    tokens that are still promoted, the mean and the density if they are missing. A label is taken where the feature has
    none; labels and their history stay. Without an index, logits are unknown (NaN), the histogram is empty, the mean
    that of the examples.
    """
    known = db.execute(
        "SELECT id, label, density, mean, promoted, suppressed FROM feature WHERE dictionary_id = ? AND feature = ?",
        [dictionary_id, found.feature],
    ).fetchone()
    row_id, label = _insert(db, dictionary_id, found) if known is None else _update(db, found, *known)
    kept = found.examples[: contexts.N_CONTEXTS]
    ids = _token_ids(db, (token for example in kept for token in example.tokens))
    packed = contexts.pack_contexts([_context(place, example, ids) for place, example in enumerate(kept)])
    words = "\n".join("".join(example.tokens) for example in found.examples[:_IN_SEARCH])
    db.execute("INSERT OR REPLACE INTO context (feature_id, words, packed) VALUES (?, ?, ?)", [row_id, words, packed])
    index_feature(db, row_id, label, words, " ".join(found.promoted))
    if found.label and not label:
        labels.set_label(db, row_id, found.label, source)
    return row_id


def _insert(db: Database, dictionary_id: int, found: ForeignFeature) -> tuple[int, str]:
    """A new row of table `feature`; its id and its label."""
    columns = "dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed, fires_on, label"
    mean = _mean(found.examples) if found.mean is None else found.mean
    values = [
        dictionary_id, found.feature, found.density or 0.0, found.maximum, mean, "[]", _ranked(found.promoted, "[]"),
        _ranked(found.suppressed, "[]"), json.dumps(_fires_on(found)), "",
    ]  # fmt: skip
    marks = ", ".join("?" * len(values))
    return int(db.execute(f"INSERT INTO feature ({columns}) VALUES ({marks})", values).lastrowid or 0), ""


def _update(
    db: Database, found: ForeignFeature, row_id: int, label: str, density: float, mean: float, promoted: str,
    suppressed: str,
) -> tuple[int, str]:  # fmt: skip
    """The row that an index or an earlier import made; its id and its label. Places of examples stay."""
    sql = (
        "UPDATE feature SET density = ?, maximum = ?, mean = ?, promoted = ?, suppressed = ?, fires_on = ? WHERE id = ?"
    )
    values = [
        density if found.density is None else found.density, found.maximum, mean if found.mean is None else found.mean,
        _ranked(found.promoted, promoted), _ranked(found.suppressed, suppressed), json.dumps(_fires_on(found)), row_id,
    ]  # fmt: skip
    db.execute("DELETE FROM fires_on WHERE feature_id = ?1 AND token IN (SELECT value FROM feature, json_each(fires_on)"
               " WHERE feature.id = ?1)", [row_id])  # fmt: skip
    db.execute(sql, values)
    again = (
        "INSERT OR IGNORE INTO fires_on SELECT value, feature.id FROM feature, json_each(fires_on) WHERE feature.id = ?"
    )
    db.execute(again, [row_id])
    return row_id, label


def _fires_on(found: ForeignFeature) -> list[str]:
    return list(dict.fromkeys(example.tokens[example.at] for example in found.examples[:_FIRES_ON]))


def _context(place: int, example: ForeignExample, ids: Mapping[str, int]) -> contexts.Context:
    """An example as it is kept; its document is its place in the file."""
    tokens = tuple(ids[token] for token in example.tokens)
    return contexts.Context(place, example.at, max(example.values), tokens, example.values, example.at)


def _ranked(tokens: Sequence[str], before: str) -> str:
    """Tokens, with the logits that are known of them; of the others nothing is said."""
    known = {token: logit for token, logit in json.loads(before)}
    return json.dumps([[token, known.get(token, math.nan)] for token in tokens])


def _token_ids(db: Database, texts: Iterable[str]) -> dict[str, int]:
    """An id for every text: that of a token which was seen with it, else one of our own, written now."""
    found: dict[str, int] = {}
    wanted = dict.fromkeys(texts)
    sql = "SELECT text, min(token) FROM token_text WHERE text IN (SELECT value FROM json_each(?)) GROUP BY text"
    found.update(db.execute(sql, [json.dumps(list(wanted))]).fetchall())
    highest = db.execute("SELECT max(token) FROM token_text").fetchone()[0] or 0
    following = max(_FIRST_OWN_TOKEN, highest + 1)
    for text in wanted:
        if text not in found:
            found[text] = following
            db.execute("INSERT INTO token_text (token, text) VALUES (?, ?)", [following, text])
            following += 1
    return found


def _mean(examples: Sequence[ForeignExample]) -> float:
    active = [value for example in examples for value in example.values if value > 0]
    return sum(active) / len(active) if active else 0.0


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no activation")
    return number


def _share(value: Any) -> float:
    number = _finite(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{number} is no share of tokens")
    return number


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError("the index is no number of a feature")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a token is no text")
    return encodable(value)
