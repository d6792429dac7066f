"""The edit grammar: what becomes of which features, as written on the command line, in files and in the app.

ablate L12/345@7,9        z' = 0
scale L8/12=3             z' = 3 z
steer L8/12=+2            z' = z + 2
steer L8/12=+2max         z' = z + twice the feature's largest activation over the corpus
swap L4-12/*@-1           z' = what it is in the other prompt
ablate texas              a graph's supernode: its members, each at its own position
scale "L1/2 = a # b"=0.5  a supernode's name that would be read as something else stands in quotes (as a JSON string)

On the command line the operation is the option (`--ablate L12/345@7,9`), in a file the first word of a line. What
begins with L and a digit is a feature, everything else is a supernode's name. `tasks.graphs.feature_name` has features.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from store.errors import BadInput
from tasks.graphs.feature_name import FeatureName, Misread, parse_feature

LARGEST_NUMBER = 3.4028234663852886e38
"""The largest float32: beyond it an activation is infinite."""
LARGEST_FILE = 2**20
"""Bytes of a file of edits."""
_FEATURE = re.compile(r"L[0-9]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_QUOTED_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|(?<!\S)#')


class Operation(StrEnum):
    """What is done to an activation z."""

    ABLATE = "ablate"
    """z' = 0."""
    SCALE = "scale"
    """z' = value · z."""
    STEER = "steer"
    """z' = z + value, or + value times the feature's maximum."""
    SWAP = "swap"
    """z' is z in another prompt."""

    @property
    def has_value(self) -> bool:
        """Whether `=VALUE` follows the name."""
        return self in (Operation.SCALE, Operation.STEER)


@dataclass(frozen=True)
class Supernode:
    """A graph's named group of features, as the subject of an edit."""

    name: str

    def __str__(self) -> str:
        """The name, in quotes where it would be read as something else."""
        plain = self.name.isprintable() and self.name == self.name.strip() and not re.search('["#=]', self.name)
        return self.name if plain and self.name and not _FEATURE.match(self.name) else json.dumps(self.name)


Subject = FeatureName | Supernode
"""What an edit changes."""


@dataclass(frozen=True)
class Edit:
    """One edit. `str` writes it as a line of a file, which is read back as the same edit."""

    operation: Operation
    subject: Subject
    value: float | None = None
    """The factor of a scaling, the summand of a steering; None otherwise."""
    in_maxima: bool = False
    """The summand counts multiples of each feature's maximum."""

    @property
    def multiply(self) -> float:
        """The factor in z' = multiply · z + add."""
        if self.operation is Operation.STEER:
            return 1.0
        return self.value or 0.0

    @property
    def add(self) -> float:
        """The summand in z' = multiply · z + add; of a swap it is known only with the other prompt."""
        return (self.value or 0.0) if self.operation is Operation.STEER else 0.0

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.operation} {self.subject}"
        sign = "+" if self.operation is Operation.STEER and not str(self.value).startswith("-") else ""
        number = repr(self.value).removesuffix(".0")
        return f"{self.operation} {self.subject}={sign}{number}{'max' if self.in_maxima else ''}"


def parse_edit(operation: Operation, text: str) -> Edit:
    """Read what stands after `--ablate`, `--scale`, …; `Misread` points at the character where the grammar breaks."""
    named, quoted_name = _split_name(operation, text)
    subject: Subject = Supernode(quoted_name) if quoted_name is not None else _bare_subject(named)
    if not operation.has_value:
        if len(named) < len(text):
            raise Misread(text, "a name", len(named), f"{operation} takes no value: end after the closing quote")
        return Edit(operation, subject)
    value = text[len(named) + 1 :]
    if not value:
        raise BadInput(f"{text!r} has no value", f"write it as {named or 'L12/345@7'}=2")
    in_maxima = operation is Operation.STEER and value.endswith("max")
    number = value.removesuffix("max") if in_maxima else value
    try:
        return Edit(operation, subject, parse_number(number), in_maxima)
    except Misread as error:
        raise error.moved(len(named) + 1) from None


def _split_name(operation: Operation, text: str) -> tuple[str, str | None]:
    """The part of `text` that is the subject's, and the name inside its quotes if it has some."""
    if text.startswith('"'):
        try:
            name, end = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError as error:
            raise Misread(text, "a name in quotes", error.pos, 'write "…" with \\" for a quote inside') from error
        if text[end : end + 1] not in ("", "="):
            raise Misread(text, "an edit", end, "after the closing quote comes nothing, or = and a value")
        return text[:end], name
    return (text.rpartition("=")[0] if operation.has_value and "=" in text else text), None


def _bare_subject(text: str) -> Subject:
    """A feature, or a supernode's name without quotes."""
    if not text.strip() or _FEATURE.match(text):
        return parse_feature(text)
    return Supernode(text)


def parse_number(text: str) -> float:
    """A finite float32; `Misread` otherwise."""
    match = _NUMBER.match(text)
    if match is None or match.end() != len(text) or abs(float(text)) > LARGEST_NUMBER:
        at = 0 if match is None or match.end() == len(text) else match.end()
        raise Misread(text, "a number", at, "write a plain number such as 2 or -1.5")
    return float(text)


def parse_line(line: str) -> Edit | None:
    """Read one line of a file, `ablate L12/345@7  # why`; None if it is blank or a comment."""
    comment = next((found for found in _QUOTED_OR_COMMENT.finditer(line) if found[0] == "#"), None)
    text = (line if comment is None else line[: comment.start()]).rstrip()
    words = text.split(maxsplit=1)
    if not words:
        return None
    first = len(text) - len(text.lstrip())
    if words[0] not in set(Operation):
        raise Misread(words[0], "an operation", first, f"a line begins with {', '.join(Operation)}")
    rest = words[1] if len(words) > 1 else ""
    try:
        return parse_edit(Operation(words[0]), rest)
    except Misread as error:
        raise error.moved(len(text) - len(rest)) from None


def read_edits(path: Path) -> list[Edit]:
    """The edits of a UTF-8 file, one a line; `BadInput` names the line and the character at fault."""
    edits = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        try:
            edit = parse_line(line)
        except BadInput as error:
            raise BadInput(f"{path}, line {number}: {error.fault}", error.mend) from error
        if edit is not None:
            edits.append(edit)
    if not edits:
        raise BadInput(f"{path} has no edits", "write one a line, as `ablate L12/345@7  # why`")
    return edits


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})", "name a file with one edit a line") from error
    if len(content) > LARGEST_FILE:
        raise BadInput(f"{path} is larger than {LARGEST_FILE >> 20} MiB", "a file of edits has one edit a line")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path}, line {line} is not UTF-8", "save the file as UTF-8") from error
