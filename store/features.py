"""Reading indexed features: one feature's row with its examples unpacked, and feature names as they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput, Missing
from store.graphs import feature_words
from store.search import Example, search_features, unpack_examples

if TYPE_CHECKING:
    from sqlite_utils import Database

_NAME = re.compile(r"L(\d+)/(\d+)")


@dataclass(frozen=True)
class FeatureRecord:
    """One row of table `feature` with its JSON read and its dictionary's name and layer.

    `density` is the share of tokens it is active on, `mean` its mean activation there, `promoted` tokens with logits.
    """

    dictionary: str
    layer: int
    feature: int
    label: str
    density: float
    maximum: float
    mean: float
    histogram: list[int]
    promoted: list[tuple[str, float]]
    suppressed: list[tuple[str, float]]
    fires_on: list[str]
    examples: list[Example]

    @property
    def name(self) -> str:
        """The feature as it is written everywhere: L12/345."""
        return f"L{self.layer}/{self.feature}"


def parse_name(name: str) -> tuple[int, int]:
    """Layer and index of `L12/345`; `BadInput` for anything else."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadInput(f"{name!r} is no feature", "write a feature as L12/345: layer 12, feature 345")
    return int(match[1]), int(match[2])


def find(db: Database, name: str, dictionary: str | None = None) -> FeatureRecord:
    """The indexed feature of that name, of the latest dictionary set that has it or of the one that is named."""
    layer, feature = parse_name(name)
    sql = """SELECT dictionary.name AS dictionary, layer, feature.feature, label, density, maximum, mean, histogram,
            promoted, suppressed, fires_on, packed
        FROM feature JOIN dictionary ON dictionary.id = dictionary_id LEFT JOIN example ON feature_id = feature.id
        WHERE layer = ? AND feature.feature = ? AND coalesce(dictionary.name = ?, 1) ORDER BY dictionary.id DESC"""
    for row in db.query(sql, [layer, feature, dictionary]):
        packed = row.pop("packed")
        read = {key: json.loads(row[key]) for key in ("histogram", "promoted", "suppressed", "fires_on")}
        return FeatureRecord(**(row | read), examples=unpack_examples(packed) if packed else [])
    where = f"in dictionary {dictionary}" if dictionary else "in any dictionary of this project"
    raise Missing(f"no indexed feature {name} {where}", "`workbench index` describes every feature of a dictionary")


def search(
    db: Database, words: str, dictionary: str | None = None, layers: Collection[int] | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """What `features search --json` lists: the features in which the words occur, best first, each with its words."""
    documents = []
    for found in search_features(db, words, dictionary=dictionary, layers=layers, limit=limit):
        known = feature_words(db, found.dictionary, {(found.layer, found.feature)})[found.layer, found.feature]
        documents.append(asdict(found) | asdict(known) | {"feature": found.name})
    return documents
