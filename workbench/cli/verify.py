"""`workbench verify`: is a pack what it claims to be, and do its numbers come out again?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.output import emit_json, emit_view

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def verify(
    pack: Annotated[Path, typer.Argument(help="The pack.", metavar="FILE")],
    hashes_only: Annotated[bool, typer.Option("--hashes-only", help="Check hashes; compute nothing again.")] = False,
    model: Annotated[str | None, typer.Option(help="Where the model's weights are on this machine.")] = None,
    absolute: Annotated[float, typer.Option(help="A number may move by this much, plus …", min=0)] = 1e-3,
    relative: Annotated[float, typer.Option(help="… this part of itself.", min=0)] = 1e-2,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Check every file of a pack, then compute its headline numbers again in a fresh directory."""
    from workbench.tui.render.verification import verification_view

    document = _hashes(pack) if hashes_only else _numbers(pack, model, absolute, relative)
    if json:
        emit_json(document)
    else:
        emit_view(verification_view(document))
    if not document["verified"]:
        raise typer.Exit(1)


def _hashes(pack: Path) -> dict[str, object]:
    from store.packs import verify_pack

    return {"pack": str(pack), "files": len(verify_pack(pack)), "verified": True}


def _numbers(pack: Path, model: str | None, absolute: float, relative: float) -> dict[str, object]:
    from tasks.verify import Tolerance, verify_numbers
    from workbench.cli.progress import terminal_progress
    from workbench.cli.task_command import stop_on_signal

    with terminal_progress() as progress, stop_on_signal() as cancelled:
        return verify_numbers(pack, model, Tolerance(absolute, relative), progress, cancelled)
