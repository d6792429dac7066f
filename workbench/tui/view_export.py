"""A view as a file: text, SVG or Markdown, by the renderers that drew it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console, RenderableType

from store.errors import BadInput

WIDTH = 120
"""Columns of a saved view."""
_ENDINGS = (".txt", ".svg", ".md")


def check_path(text: str) -> Path:
    """The path of a view to save; `BadInput` for an ending that says no kind, or a directory that is not there."""
    path = Path(text).expanduser()
    if path.suffix not in _ENDINGS:
        raise BadInput(f"{path.name!r} does not say what to save as", f"end it with {', '.join(_ENDINGS)}")
    if not path.parent.is_dir():
        raise BadInput(f"there is no directory {path.parent}", "make it first, or name another")
    return path


def save_view(view: RenderableType, text: str) -> str:
    """Write the view to the file that `text` names; returns what to tell the person."""
    path = check_path(text)
    console = Console(file=io.StringIO(), record=True, width=WIDTH, color_system="truecolor", force_terminal=True)
    console.print(view)
    if path.suffix == ".svg":
        content = console.export_svg(title="workbench")
    else:
        plain = console.export_text()
        content = plain if path.suffix == ".txt" else f"```text\n{plain}```\n"
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror})", "name another file") from error
    return f"saved to {path}"
