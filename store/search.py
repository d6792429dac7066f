"""Top-activating examples in few bytes, and full-text search over what is known of features.

The index (`feature_fts`, FTS5) holds three texts a feature, under the id of its row: its label, the words around its
top-activating examples, and the tokens that it promotes. It stores no text of its own, only what finds it.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from store.errors import BadInput, Damaged

if TYPE_CHECKING:
    from sqlite_utils import Database

MAX_TERMS = 16
"""Words in one search."""
MAX_CHARACTERS = 1000
"""Characters in one search."""
LABEL_WEIGHTS = "4.0, 1.0, 2.0"
"""What a word counts for in a label, in examples, and among promoted tokens (BM25)."""
SHORTEST_BEGINNING = 3
"""Characters from which the last word, if it is ASCII, also finds longer ones: too many words begin with fewer."""
_EXAMPLE = struct.Struct("<IIf")
_MAX_EXAMPLES = 255


class Example(NamedTuple):
    """Where a feature was active: the corpus' document, the token's position in it, and how strongly."""

    document: int
    position: int
    activation: float


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
    texts = [encodable(text) for text in (label, examples, promoted)]
    db.execute(
        "INSERT OR REPLACE INTO feature_fts (rowid, label, examples, promoted) VALUES (?, ?, ?, ?)",
        [feature_id, *texts],
    )


def quoted_words(words: Sequence[str]) -> list[str]:
    """The words as FTS5 strings, to be joined with AND: no character of them has a meaning to FTS5.

    A word of several, "new-york", stands for these beside each other. `BadInput` if no word holds a letter or a digit,
    or they are too many; a word that holds none beside others that do is left out.
    """
    terms = _searchable(words)
    if not terms:
        raise BadInput("nothing to search for", "give a word, or a part of one, with letters or digits")
    n_characters = sum(map(len, words))
    if len(terms) > MAX_TERMS or n_characters > MAX_CHARACTERS:
        given = f"a search of {len(terms)} words and {n_characters} characters"
        raise BadInput(given, f"give at most {MAX_TERMS} words and {MAX_CHARACTERS} characters")
    return ['"{}"'.format(term.replace('"', '""')) for term in terms]


def as_beginning(words: Sequence[str], quoted: Sequence[str]) -> list[str]:
    """`quoted` with the last word also as a beginning; empty if it is too short to be one."""
    last = _searchable(words)[-1]
    return [*quoted[:-1], f"{quoted[-1]} *"] if len(last) >= SHORTEST_BEGINNING or not last.isascii() else []


def _searchable(words: Sequence[str]) -> list[str]:
    """The words that hold something to search for."""
    return [term for term in (encodable(word).replace("\0", " ") for word in words) if any(map(_is_in_tokens, term))]


def _is_in_tokens(character: str) -> bool:
    """Whether FTS5's tokenizer keeps the character: a term without any would match nothing."""
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Co"


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, because UTF-8 cannot hold them."""
    return text.encode("utf-8", "replace").decode("utf-8")
