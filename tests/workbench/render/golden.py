"""Golden renders: what a view printed when a person last looked at it and found it right.

Set WORKBENCH_GOLDEN=write to write them anew; then read the difference before it is committed.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from rich.console import Console, RenderableType

_DIRECTORY = Path(__file__).parent / "golden_files"


def printed(view: RenderableType, width: int) -> str:
    """`view` as plain text on a terminal of `width` columns, without colour."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, markup=False, highlight=False, emoji=False)
    console.print(view)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def assert_golden(name: str, view: RenderableType, width: int) -> None:
    """`view` prints what the golden file `name` holds for that width, and no line is wider."""
    text = printed(view, width)
    assert max(map(len, text.splitlines())) <= width
    path = _DIRECTORY / f"{name}_{width}.txt"
    if os.environ.get("WORKBENCH_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
