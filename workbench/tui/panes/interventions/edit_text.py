"""What a person types into the console, before the grammar reads it: how long it may be, and what it may hold."""

from __future__ import annotations

import re
import unicodedata

from store.errors import BadInput

LONGEST_PROMPT = 20_000
"""Characters of a prompt that is sent to the model."""
LONGEST_EDIT = 500
_QUOTED_OR_FROM = re.compile(r'"(?:[^"\\]|\\.)*"|(?<=\s)from(?=\s|$)')


def check_prompt(text: str) -> None:
    """`BadInput` for a prompt that is too long or holds control characters other than line ends and tabs."""
    if len(text) > LONGEST_PROMPT:
        raise BadInput(f"a prompt of {len(text):,} characters", f"at most {LONGEST_PROMPT:,} are taken here")
    _refuse_controls(text, "the prompt", "\n\t")


def check_edit_text(text: str) -> None:
    """`BadInput` for an edit that is too long or holds control characters."""
    if len(text) > LONGEST_EDIT:
        raise BadInput(f"an edit of {len(text):,} characters", f"at most {LONGEST_EDIT} are taken; write ranges")
    _refuse_controls(text, "the edit", "")


def split_source(line: str) -> tuple[str, str | None]:
    """`swap L4/1@2 from PROMPT` as the edit and the prompt; None for a line that names no prompt.

    A `from` inside quotes is part of a name.
    """
    if not line.lstrip().startswith("swap"):
        return line, None
    for found in _QUOTED_OR_FROM.finditer(line):
        if found[0] == "from":
            return line[: found.start()].rstrip(), line[found.end() :].strip()
    return line, None


def _refuse_controls(text: str, what: str, allowed: str) -> None:
    for at, character in enumerate(text):
        if character not in allowed and unicodedata.category(character) in ("Cc", "Cs"):
            code = f"U+{ord(character):04X}"
            raise BadInput(f"{what} holds the control character {code} at character {at + 1}", "take it out")
