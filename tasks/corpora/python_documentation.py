"""Python's own documentation, as the running interpreter carries it: topics of the reference, and docstrings.

Sources are parsed, never imported. Files are visited in a seeded order, so that the beginning of the stream already is
a sample of the whole.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import tokenize
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from random import Random

_LEFT_OUT = {"test", "tests", "idlelib", "site-packages", "lib2to3", "__pycache__", "turtledemo", "ensurepip"}
_TOPICS = "pydoc_data/topics.py"
_SHORTEST_CHARACTERS = 60
_PARAGRAPH = re.compile(r"\n\s*\n")
_BLANKS = re.compile(r"\s+")


def documentation_texts(seed: int) -> Iterator[str]:
    """Paragraphs of docstrings and of the reference's topics; those that are prose rather than code or tables."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(file for file in library.rglob("*.py") if not _LEFT_OUT & set(file.relative_to(library).parts))
    Random(seed).shuffle(files)
    topics = _paragraphs_of_topics(library / _TOPICS, seed)
    seen: set[str] = set()
    for file in files:
        for text in _docstrings(file):
            for paragraph in _PARAGRAPH.split(text):
                for candidate in (_BLANKS.sub(" ", paragraph).strip(), next(topics, "")):
                    if is_prose(candidate) and candidate not in seen:
                        seen.add(candidate)
                        yield candidate
    yield from (topic for topic in topics if is_prose(topic) and topic not in seen)


def is_prose(text: str) -> bool:
    """Whether a paragraph reads as sentences: long, mostly letters, begins and ends like one, no session of a shell."""
    letters = sum(character.isalpha() or character == " " for character in text)
    return (
        len(text) >= _SHORTEST_CHARACTERS
        and letters >= 0.85 * len(text)
        and text[-1] in ".:?!"
        and ">>>" not in text
        and text[0].isupper()
    )


def _docstrings(file: Path) -> Iterator[str]:
    try:
        with tokenize.open(file) as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def _paragraphs_of_topics(file: Path, seed: int) -> Iterator[str]:
    if not file.is_file():
        return
    tree = ast.parse(file.read_text("utf-8"))
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    paragraphs = [_BLANKS.sub(" ", p).strip() for text in strings for p in _PARAGRAPH.split(cleandoc(text))]
    paragraphs = list(dict.fromkeys(p for p in paragraphs if is_prose(p)))
    Random(seed).shuffle(paragraphs)
    yield from paragraphs
