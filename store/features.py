"""Reading indexed features: rows for a list, one feature's card, and feature names as they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from store import contexts, labels
from store.errors import BadInput, Missing
from store.feature_details import detail_document, find_detail, token_texts
from store.search import Example, unpack_examples

if TYPE_CHECKING:
    from sqlite_utils import Database

_NAME = re.compile(r"L(\d{1,9})/(\d{1,9})")
_MOST_PLACES = 200
"""Graphs and interventions named on a card."""


@dataclass(frozen=True)
class FeatureRow:
    """One feature in a list. `density` is the share of tokens it is active on, `promoted` tokens with logits."""

    id: int
    dictionary: str
    layer: int
    feature: int
    label: str
    density: float
    maximum: float
    promoted: list[tuple[str, float]]
    fires_on: list[str]
    starred: bool
    label_score: float | None = None
    """Balanced accuracy of detection by the label, from the judge that was asked last; None if nobody was."""

    @property
    def name(self) -> str:
        """The feature as it is written everywhere: L12/345."""
        return f"L{self.layer}/{self.feature}"

    def document(self) -> dict[str, Any]:
        """What lists print: the row, with the feature's name under `feature`."""
        return asdict(self) | {"feature": self.name, "index": self.feature}


@dataclass(frozen=True)
class FeatureRecord:
    """One row of table `feature` with its JSON read and its dictionary's name and layer.

    `density` is the share of tokens it is active on, `mean` its mean activation there, `promoted` tokens with logits.
    """

    id: int
    dictionary_id: int
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
    """The indexed feature of that name, of the set that is named, or of the latest that has it; of neurons last."""
    layer, feature = parse_name(name)
    sql = """SELECT feature.id, dictionary_id, dictionary.name AS dictionary, layer, feature.feature, label, density,
            maximum, mean, histogram, promoted, suppressed, fires_on, packed
        FROM feature JOIN dictionary ON dictionary.id = dictionary_id LEFT JOIN example ON feature_id = feature.id
        WHERE layer = ? AND feature.feature = ? AND coalesce(dictionary.name = ?, 1)
        ORDER BY dictionary.kind = 'neurons', dictionary.id DESC"""
    for row in db.query(sql, [layer, feature, dictionary]):
        packed = row.pop("packed")
        read = {key: json.loads(row[key]) for key in ("histogram", "promoted", "suppressed", "fires_on")}
        return FeatureRecord(**(row | read), examples=unpack_examples(packed) if packed else [])
    where = f"in dictionary {dictionary}" if dictionary else "in any dictionary of this project"
    raise Missing(f"no indexed feature {name} {where}", "`workbench index` describes every feature of a dictionary")


def rows_of(db: Database, ids: Collection[int]) -> dict[int, FeatureRow]:
    """The rows with these ids, for a page of a list."""
    sql = """SELECT feature.id, dictionary.name, layer, feature.feature, label, density, maximum, promoted, fires_on,
            EXISTS (SELECT 1 FROM star
                WHERE star.dictionary_id = feature.dictionary_id AND star.feature = feature.feature),
            CASE WHEN label != '' THEN
                (SELECT balanced_accuracy FROM label_score WHERE method = 'detection' AND judge != ?
                    AND label_change_id = (SELECT max(label_change.id) FROM label_change
                        WHERE label_change.dictionary_id = feature.dictionary_id
                            AND label_change.feature = feature.feature) LIMIT 1) END
        FROM json_each(?) CROSS JOIN feature ON feature.id = value JOIN dictionary ON dictionary.id = dictionary_id"""
    names = FeatureRow.__dataclass_fields__
    found = {}
    for row in db.execute(sql, [labels.FLOOR, json.dumps(list(map(int, ids)))]).fetchall():
        known = dict(zip(names, row, strict=True))
        read = {name: json.loads(known[name]) for name in ("promoted", "fires_on")}
        found[row[0]] = FeatureRow(**(known | read | {"starred": bool(known["starred"])}))
    return found


def indexed(db: Database) -> int:
    """How many features are indexed."""
    return int(db.execute("SELECT count(*) FROM feature").fetchone()[0])


def card(db: Database, name: str, dictionary: str | None = None) -> dict[str, Any]:
    """All that is stored of one feature, as one document: what `features show --json` prints and the card shows.

    `contexts` are its strongest examples with the activation on each token, `graphs` where it was kept (effects in nats
    of the decisive target), `interventions` those whose edits name it. `moments`, `quantiles`, `lowest` and
    `neighbours` are as `store.feature_details.detail_document` says.
    """
    record = find(db, name, dictionary)
    return asdict(record) | {
        "feature": record.name,
        "index": record.feature,
        "examples": [example._asdict() for example in record.examples],
        "starred": labels.is_starred(db, record.dictionary_id, record.feature),
        "labels": [change.document() for change in labels.history(db, record.dictionary_id, record.feature)],
        "contexts": _contexts(db, record.id),
        **detail_document(db, record.dictionary_id, find_detail(db, record.id)),
        "graphs": _graphs(db, record),
        "interventions": _interventions(db, record),
    }


def _contexts(db: Database, feature_id: int) -> list[dict[str, object]] | None:
    """The strongest examples as texts; None of a feature that was indexed before texts were kept."""
    row = db.execute("SELECT packed FROM context WHERE feature_id = ?", [feature_id]).fetchone()
    if row is None:
        return None
    found = contexts.unpack_contexts(row[0])
    return contexts.texts_of(found, token_texts(db, found))


def _graphs(db: Database, record: FeatureRecord) -> list[dict[str, Any]]:
    """The nodes of stored graphs that are this feature, the newest graph first."""
    sql = f"""SELECT graph.id AS graph, prompt, node.position, activation, predicted_effect,
            (SELECT measured FROM effect WHERE effect.graph_id = graph.id AND effect.kind = 'ablation'
                AND effect.layer = node.layer AND effect.position = node.position AND effect.feature = node.feature
                ORDER BY effect.id DESC LIMIT 1) AS measured_effect
        FROM node JOIN graph ON graph.id = node.graph_id
        WHERE node.kind = 'feature' AND node.layer = ? AND node.feature = ? AND graph.dictionary = ?
        ORDER BY graph.id DESC, node.position LIMIT {_MOST_PLACES}"""
    return list(db.query(sql, [record.layer, record.feature, record.dictionary]))


def _interventions(db: Database, record: FeatureRecord) -> list[dict[str, Any]]:
    """The stored interventions whose edits name this feature of this dictionary set, the newest first."""
    sql = f"""SELECT intervention.id AS intervention, prompt, edits FROM intervention
        JOIN job ON job.id = intervention.job_id
        WHERE edits LIKE ? AND coalesce(json_extract(job.params, '$.dictionary'), '') IN ('', ?)
        ORDER BY intervention.id DESC LIMIT {_MOST_PLACES}"""
    named = re.compile(rf"L{record.layer}/{record.feature}(?!\d)")
    found = db.query(sql, [f"%L{record.layer}/{record.feature}%", record.dictionary])
    return [row | {"edits": json.loads(row["edits"])} for row in found if named.search(row["edits"])]
