"""`workbench verify`: is a pack what it claims to be?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def verify(
    pack: Annotated[Path, typer.Argument(help="The pack.", metavar="FILE")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Check every file of a pack against its manifest; nothing is written."""
    from store.packs import verify_pack
    from workbench.tui.render.document import document_view

    hashes = verify_pack(pack)
    document = {"pack": str(pack), "files": len(hashes), "verdict": "every hash is right"}
    if json:
        emit_json(document | {"hashes": hashes})
    else:
        emit_view(document_view(document))
