"""Corpora in files: plain text, JSON lines and parquet, alone or a directory of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from store.errors import BadInput, Missing

_SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")
_COLUMNS = ("text", "content", "document")
"""Names of the column or key that holds the text; the first that is there is used."""
_ROWS_AT_ONCE = 256


def file_texts(path: Path) -> Callable[[], Iterator[str]]:
    """The texts of a file, or of every file below a directory in the order of their paths."""
    files = text_files(path)
    if not files:
        raise BadInput(f"{path} holds no text files", f"put {', '.join(_SUFFIXES)} files there")
    if path.is_file() and path.stat().st_size == 0:
        raise BadInput(f"{path} is empty", "give a file that holds text")

    def texts() -> Iterator[str]:
        for file in files:
            yield from _read(file)

    return texts


def text_files(path: Path) -> list[Path]:
    """The files that a corpus at `path` is read from, in order: itself, or those of text below a directory."""
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())


def _read(file: Path) -> Iterator[str]:
    if file.suffix == ".jsonl":
        return _read_jsonl(file)
    return _read_parquet(file) if file.suffix == ".parquet" else _read_text(file)


def _read_text(file: Path) -> Iterator[str]:
    """Paragraphs, which blank lines part. Lines are read as bytes so that a fault can be given its place."""
    paragraph: list[str] = []
    for line in _lines(file):
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield "".join(paragraph).rstrip("\r\n")
            paragraph = []
    if paragraph:
        yield "".join(paragraph).rstrip("\r\n")


def _read_jsonl(file: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadInput(f"line {number} of {file} is not JSON", "write one object a line") from error
        yield _text_of(row, f"line {number} of {file}")


def _text_of(row: Any, where: str) -> str:
    text = row if isinstance(row, str) else None
    if isinstance(row, dict):
        text = next((row[name] for name in _COLUMNS if name in row), None)
    if not isinstance(text, str):
        raise BadInput(f"{where} holds no text", f"write the text as {' or '.join(map(repr, _COLUMNS))}")
    return text


def _read_parquet(file: Path) -> Iterator[str]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError as error:
        raise Missing("parquet files need pyarrow, which is not installed", "pip install pyarrow") from error
    try:
        table = parquet.ParquetFile(file)
        column = next((name for name in _COLUMNS if name in table.schema_arrow.names), None)
        if column is None:
            raise BadInput(f"{file} has no text column", f"name it {' or '.join(map(repr, _COLUMNS))}")
        for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[column]):
            yield from (text for text in batch.column(0).to_pylist() if isinstance(text, str))
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read as parquet ({error})", "write it again") from error


def _lines(file: Path) -> Iterator[str]:
    """The lines of a UTF-8 file; `BadInput` names the file and the byte that is not UTF-8."""
    place = 0
    try:
        with file.open("rb") as stream:
            for line in stream:
                try:
                    yield line.decode("utf-8-sig" if place == 0 else "utf-8")
                except UnicodeDecodeError as error:
                    where = place + error.start
                    raise BadInput(f"{file} is not UTF-8 at byte {where}", "save it as UTF-8") from error
                place += len(line)
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror})", "check its permissions") from error
