"""`workbench unpack`: a pack as a project of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def unpack(
    pack: Annotated[Path, typer.Argument(help="The pack.", metavar="FILE")],
    directory: Annotated[Path, typer.Argument(help="Where the project goes: empty, or not there.", metavar="DIR")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Check a pack and open it as a project in a new directory."""
    from tasks.verify import open_pack
    from workbench.tui.render.document import document_view

    document = {"pack": str(pack), "project": str(directory), "files": len(open_pack(pack, directory))}
    if json:
        emit_json(document)
    else:
        emit_view(document_view(document))
