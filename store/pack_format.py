"""What kind of pack a file is, read before anything else of it: a pack of a newer workbench is refused by name."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from store.database import newest_version
from store.errors import BadInput, Damaged
from store.packs import read_entry

HEADER_NAME = "pack.json"
"""The entry that says it."""
FORMAT = 2
"""The arrangement of files in a pack that this workbench writes and reads."""


@dataclass(frozen=True)
class PackHeader:
    """How a pack is to be read."""

    format: int
    workbench: str
    """The version that wrote it."""
    schema: int
    """Of the database that the rows come from."""
    created_at: str
    """ISO 8601 UTC."""
    left_out: tuple[str, ...] = ()
    """Files that rows name and the pack does not hold: weights of a pack made with `--no-weights`."""

    def content(self) -> bytes:
        """The entry."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


def read_header(pack: Path) -> PackHeader:
    """The header of a pack; `BadInput` for one that a newer workbench wrote, `Damaged` for one without a header."""
    try:
        document = json.loads(read_entry(pack, HEADER_NAME))
        left_out = document.pop("left_out")
        header = PackHeader(**document, left_out=tuple(left_out))
        numbers, texts = (header.format, header.schema), (header.workbench, header.created_at, *header.left_out)
        sound = all(type(each) is int for each in numbers) and all(isinstance(each, str) for each in texts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(f"{HEADER_NAME} of {pack} cannot be read", "get the pack again from who made it") from error
    if not sound:
        raise Damaged(f"{HEADER_NAME} of {pack} cannot be read", "get the pack again from who made it")
    known = newest_version()
    if header.format > FORMAT or header.schema > known:
        raise BadInput(
            f"{pack} was written by workbench {header.workbench[:40]!r} (pack format {header.format}, schema"
            f" {header.schema}); this one reads up to format {FORMAT} and schema {known}",
            "install that workbench, or a newer one",
        )
    if header.format < FORMAT or header.schema < 1:
        raise Damaged(f"{pack} has pack format {header.format}, schema {header.schema}", "pack the project again")
    return header
