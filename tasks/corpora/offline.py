"""The offline corpus: text that is on any machine with Python, mixed with plain sentences of our own making.

Two parts: Python's own documentation (the language reference and the docstrings of the running interpreter's standard
library), and sentences generated from small tables (`facts.py`). Which part, and how much of each, was decided by
measurement: docs/corpus.md. No text is downloaded, and the order is drawn from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from store.errors import BadInput
from tasks.corpora.facts import fact_texts
from tasks.corpora.python_documentation import documentation_texts

N_DOCUMENTS = 60_000
"""Length of the mixture."""
SHARE_OF_FACTS = 0.5
"""Share of the documents that are generated sentences."""
_SEED = 20_250_801


def offline_texts(spec: str) -> Callable[[], Iterator[str]]:
    """`offline` is the mixture; `offline:facts` and `offline:python` are its parts alone."""
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "offline": mixture,
        "offline:facts": lambda: fact_texts(_SEED, N_DOCUMENTS),
        "offline:python": lambda: documentation_texts(_SEED),
    }
    if spec not in parts:
        raise BadInput(f"there is no corpus {spec!r}", f"the offline ones are {', '.join(parts)}")
    return parts[spec]


def mixture() -> Iterator[str]:
    """Documents of both parts in a seeded order, until the documentation is used up or `N_DOCUMENTS` are given."""
    draw = Random(_SEED)
    facts, documentation = fact_texts(_SEED, N_DOCUMENTS), documentation_texts(_SEED)
    for _ in range(N_DOCUMENTS):
        part = facts if draw.random() < SHARE_OF_FACTS else documentation
        text = next(part, None)
        if text is None:
            return
        yield text
