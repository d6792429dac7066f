"""Corpora: text as numbered documents, read as a stream in an order that is always the same.

| spec | text |
| --- | --- |
| `offline` | the default: needs no download (see `offline.py` and docs/corpus.md) |
| a path | a .txt, .jsonl or .parquet file, or a directory of them |
| `hub:NAME[:SPLIT][:COLUMN]` | a data set of the hub, streamed through `datasets` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from store.errors import BadInput


@dataclass(frozen=True)
class Document:
    """One text of a corpus."""

    index: int
    """Its place in the corpus, from 0."""
    text: str


@dataclass(frozen=True)
class Corpus:
    """A named stream of documents that can be read again and is the same each time."""

    name: str
    """The spec that opens it."""
    texts: Callable[[], Iterator[str]]
    """Starts the stream of texts anew."""

    def documents(self) -> Iterator[Document]:
        """Every text that is not blank, numbered; `BadInput` if there is none."""
        numbers = count()
        for text in self.texts():
            if text.strip():
                yield Document(next(numbers), text)
        if next(numbers) == 0:
            raise BadInput(f"the corpus {self.name} holds no text", "name one that does")

    def read(self, indices: set[int]) -> dict[int, str]:
        """The texts of some documents, from one pass over the corpus that stops after the last of them."""
        found: dict[int, str] = {}
        for document in self.documents() if indices else ():
            if document.index in indices:
                found[document.index] = document.text
                if len(found) == len(indices):
                    break
        if lost := sorted(indices - found.keys()):
            raise BadInput(f"the corpus {self.name} has no document {lost[0]}", "give the corpus that was read before")
        return found


def open_corpus(spec: str) -> Corpus:
    """The corpus that `spec` names. Raises `BadInput` for one that is not there or holds no text."""
    if spec == "offline" or spec.startswith("offline:"):
        from tasks.corpora.offline import offline_texts

        return Corpus(spec, offline_texts(spec))
    if spec.startswith("hub:"):
        from tasks.corpora.hub import hub_texts

        return Corpus(spec, hub_texts(spec))
    from tasks.corpora.files import file_texts

    path = Path(spec).expanduser()
    if not path.exists():
        raise BadInput(f"there is no corpus at {spec}", "give offline, a file or directory of text, or hub:NAME")
    return Corpus(str(path.resolve()), file_texts(path.resolve()))
