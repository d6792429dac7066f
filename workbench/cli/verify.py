"""`workbench verify`: is a pack what it claims to be, and do its numbers come out again?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.errors import Missing
from workbench.cli.output import emit_json, emit_view

if TYPE_CHECKING:
    from tasks.packs.expected import Tolerance

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def verify(
    pack: Annotated[Path, typer.Argument(help="The pack.", metavar="FILE")],
    quick: Annotated[bool, typer.Option("--quick", help="Check hashes; compute nothing again.")] = False,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Capture and train again too, in an empty project, before the rest."),
    ] = False,
    model: Annotated[str | None, typer.Option(help="Where the model's weights are on this machine.")] = None,
    absolute: Annotated[
        float | None, typer.Option(help="A number may move by this much, plus …; default: as the pack says.", min=0)
    ] = None,
    relative: Annotated[
        float | None, typer.Option(help="… this part of itself; default: as the pack says.", min=0)
    ] = None,
    every: Annotated[bool, typer.Option("--every", help="Print every number, not only the headlines.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, with every number.")] = False,
) -> None:
    """Check every file of a pack, then compute its numbers again in a fresh directory.

    Exit code 0: verified; 1: something was changed, failed or moved; 3: hashes are right and the model is not here.
    """
    from workbench.tui.render.verification import verification_view

    document = _hashes(pack) if quick else _numbers(pack, model, _tolerance(pack, absolute, relative), from_scratch)
    if json:
        emit_json(document)
    else:
        emit_view(verification_view(document, every))
    if not document["verified"]:
        absent = not document["computed"] and not document["altered"]
        raise typer.Exit(Missing.exit_code if absent else 1)


def _tolerance(pack: Path, absolute: float | None, relative: float | None) -> Tolerance | None:
    """The tolerance that was asked for; what was left out is as the pack says."""
    from store.packs import read_entry
    from tasks.packs.expected import EXPECTED_NAME, Tolerance, read_claims

    if absolute is None and relative is None:
        return None
    _, tolerances = read_claims(read_entry(pack, EXPECTED_NAME))
    own = tolerances.usual
    return Tolerance(own.absolute if absolute is None else absolute, own.relative if relative is None else relative)


def _hashes(pack: Path) -> dict[str, Any]:
    from tasks.verify import verify_hashes

    return verify_hashes(pack)


def _numbers(pack: Path, model: str | None, tolerance: Tolerance | None, from_scratch: bool) -> dict[str, Any]:
    from tasks.verify import verify_numbers
    from workbench.cli.progress import terminal_progress
    from workbench.cli.task_command import stop_on_signal
    from workbench.figures import draw_graph

    with terminal_progress() as progress, stop_on_signal() as cancelled:
        return verify_numbers(pack, model, tolerance, progress, cancelled, draw_graph, from_scratch)
