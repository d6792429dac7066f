"""Top-activating examples in few bytes, and full-text search over what is known of features.

The index (`feature_fts`, FTS5) holds three texts a feature, under the id of its row: its label, the words around its
top-activating examples, and the tokens that it promotes. It stores no text of its own, only what finds it.
"""

from __future__ import annotations

import struct
import time
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pysqlite3

from store.errors import BadInput, Damaged, Missing

if TYPE_CHECKING:
    from sqlite_utils import Database

MAX_TERMS = 16
"""Words in one search."""
MAX_CHARACTERS = 1000
"""Characters in one search."""
_EXAMPLE = struct.Struct("<IIf")
_MAX_EXAMPLES = 255
_LABEL_WEIGHT, _EXAMPLES_WEIGHT, _PROMOTED_WEIGHT = 4.0, 1.0, 2.0
_INSTRUCTIONS_BETWEEN_LOOKS = 1000


class Example(NamedTuple):
    """Where a feature was active: the corpus' document, the token's position in it, and how strongly."""

    document: int
    position: int
    activation: float


@dataclass(frozen=True)
class FoundFeature:
    """One row of a search. `score` is BM25, larger is better; `density` is the share of tokens it is active on."""

    dictionary: str
    layer: int
    feature: int
    label: str
    score: float
    density: float
    maximum: float

    @property
    def name(self) -> str:
        """The feature as it is written everywhere: L12/345."""
        return f"L{self.layer}/{self.feature}"


def pack_examples(examples: Sequence[Example]) -> bytes:
    """At most 255 examples as one blob: a count byte, then document (u32), position (u32), activation (f32) of each.

    Little-endian; 20 examples take 241 bytes. Activations are rounded to float32.
    """
    if len(examples) > _MAX_EXAMPLES:
        raise ValueError(f"{len(examples)} examples, and a blob holds {_MAX_EXAMPLES}")
    return bytes([len(examples)]) + b"".join(_EXAMPLE.pack(*example) for example in examples)


def unpack_examples(packed: bytes) -> list[Example]:
    """The examples of a blob; `Damaged` if its length is not what its first byte says."""
    if not packed or len(packed) != 1 + packed[0] * _EXAMPLE.size:
        raise Damaged(f"a blob of examples has {len(packed)} bytes", "run `workbench index` again")
    return [Example(*fields) for fields in _EXAMPLE.iter_unpack(packed[1:])]


def index_feature(db: Database, feature_id: int, label: str, examples: str, promoted: str) -> None:
    """Make a feature findable by its label, the text around its examples, and its promoted tokens."""
    texts = [_encodable(text) for text in (label, examples, promoted)]
    db.execute(
        "INSERT OR REPLACE INTO feature_fts (rowid, label, examples, promoted) VALUES (?, ?, ?, ?)",
        [feature_id, *texts],
    )


def relabel(db: Database, feature_id: int, label: str, examples: str, promoted: str) -> None:
    """Give a feature a new label, in its row and in the index; `Missing` if there is no such feature.

    The index keeps no text, so the other two texts are needed again. Call it inside a transaction.
    """
    if db.execute("UPDATE feature SET label = ? WHERE id = ?", [_encodable(label), feature_id]).rowcount != 1:
        raise Missing(f"no feature with row {feature_id}", "`workbench features search` shows the features there are")
    index_feature(db, feature_id, label, examples, promoted)


def search_features(
    db: Database,
    words: str,
    *,
    dictionary: str | None = None,
    layers: Collection[int] | None = None,
    density: tuple[float, float] = (0.0, 1.0),
    limit: int = 20,
    time_limit_s: float = 2.0,
) -> list[FoundFeature]:
    """The features in which all the words occur, best first; the last word also finds longer ones that begin like it.

    `words` is anything a person may type: it is quoted here, so no character has a meaning to FTS5. `density` is an
    inclusive range. Raises `BadInput` for no words, more than 16, or a search that takes longer than `time_limit_s`.
    """
    filters = ["feature.density BETWEEN ? AND ?"]
    values: list[Any] = [*density]
    if dictionary is not None:
        filters.append("dictionary.name = ?")
        values.append(_encodable(dictionary))
    if layers is not None:
        filters.append(f"dictionary.layer IN ({', '.join('?' * len(layers))})")
        values.extend(layers)
    sql = f"""
        SELECT dictionary.name, dictionary.layer, feature.feature, feature.label,
            -bm25(feature_fts, {_LABEL_WEIGHT}, {_EXAMPLES_WEIGHT}, {_PROMOTED_WEIGHT}) AS score,
            feature.density, feature.maximum
        FROM feature_fts JOIN feature ON feature.id = feature_fts.rowid
            JOIN dictionary ON dictionary.id = feature.dictionary_id
        WHERE feature_fts MATCH ? AND {" AND ".join(filters)}
        ORDER BY score DESC, feature.id LIMIT ?"""
    match = match_expression(words)
    with _time_limit(db, time_limit_s):
        rows = db.execute(sql, [match, *values, limit]).fetchall()
    return [FoundFeature(*row) for row in rows]


def match_expression(words: str) -> str:
    """The FTS5 query for all of `words`: each one a quoted string, the last one a prefix. `BadInput` if unusable."""
    terms = [term for term in _encodable(words).replace("\0", " ").split() if any(map(_is_in_tokens, term))]
    if not terms:
        raise BadInput("nothing to search for", "give a word, or a part of one, with letters or digits")
    if len(terms) > MAX_TERMS or len(words) > MAX_CHARACTERS:
        given = f"a search of {len(terms)} words and {len(words)} characters"
        raise BadInput(given, f"give at most {MAX_TERMS} words and {MAX_CHARACTERS} characters")
    doubled = (term.replace('"', '""') for term in terms)
    return " AND ".join(f'"{term}"' for term in doubled) + " *"


def _is_in_tokens(character: str) -> bool:
    """Whether FTS5's tokenizer keeps the character: a term without any would match nothing."""
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Co"


def _encodable(text: str) -> str:
    """The text with lone surrogates replaced, because UTF-8 cannot hold them."""
    return text.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def _time_limit(db: Database, seconds: float) -> Iterator[None]:
    """Interrupt any query inside that runs for longer, and say so as `BadInput`."""
    deadline = time.monotonic() + seconds
    db.conn.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS_BETWEEN_LOOKS)
    try:
        yield
    except pysqlite3.OperationalError as error:
        if time.monotonic() <= deadline:
            raise
        raise BadInput(f"the search took longer than {seconds:g} s", "give longer words, or name a layer") from error
    finally:
        db.conn.set_progress_handler(None, 0)
