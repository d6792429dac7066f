"""`workbench reproduction`: the last reproduction again, or its report as Markdown or one offline page."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.errors import BadInput, Missing
from workbench.cli.invocation import open_project
from workbench.cli.output import emit_json, emit_view

if TYPE_CHECKING:
    from store.project import Project

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_ENDINGS = (".md", ".html")


@app.command()
def reproduction(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Write the report: .md or .html.", metavar="[FILE]...")
    ] = None,
    job: Annotated[int | None, typer.Option(help="The job of `workbench reproduce`; default: the last.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Show the last reproduction again, or write its report."""
    from workbench.tui.render.facts import facts
    from workbench.tui.render.reproduction import reproduction_view

    for file in files or []:
        _refuse(file)
    with open_project(ctx) as project:
        document = last_reproduction(project, job)
        written = {str(file): _write(file, document, project) for file in files or []}
    if json:
        emit_json({"reproduction": document, "written": written})
    elif written:
        emit_view(facts({file: f"{size} bytes" for file, size in written.items()}))
    else:
        emit_view(reproduction_view(document))


def last_reproduction(project: Project, job: int | None) -> dict[str, Any]:
    """The document of a reproduction: the one that ended last, or of a job; `Missing` if there is none."""
    from store import jobs

    ended = [each for each in jobs.listing(project.db, 10_000) if each.kind == "reproduce" and each.result]
    chosen = [each for each in ended if job in (None, each.id)]
    if not chosen:
        fault = "nothing was reproduced in this project" if job is None else f"job {job} is no reproduction that ended"
        raise Missing(fault, "`workbench reproduce` does it")
    last = max(chosen, key=lambda each: (str(each.finished_at), -each.id))
    return dict(last.result or {})


def _refuse(file: Path) -> None:
    if file.suffix.lower() not in _ENDINGS:
        raise BadInput(f"{file} ends in none of {', '.join(_ENDINGS)}", "name it so")
    if file.exists():
        raise BadInput(f"{file} exists", "choose another name")


def _write(file: Path, document: dict[str, Any], project: Project) -> int:
    """Write the report and return its size in bytes."""
    from workbench.figures.reproduction import report_markdown, report_page

    if file.suffix.lower() == ".md":
        content = report_markdown(document).encode()
    else:
        content = report_page(document, _figures(document, project)).encode()
    try:
        file.write_bytes(content)
    except OSError as error:
        with suppress(OSError):
            file.unlink()
        raise BadInput(f"{file} cannot be written ({error.strerror})", "choose another place") from error
    return len(content)


def _figures(document: dict[str, Any], project: Project) -> dict[int, str]:
    """A figure of the first graph of each behaviour, where it is still there."""
    from tasks.graphs.view import load_graph_view
    from workbench.figures.svg import graph_figure

    figures = {}
    for behaviour in document["behaviours"]:
        for graph in behaviour["graphs"][:1]:
            with suppress(Missing):
                figures[graph["graph"]] = graph_figure(load_graph_view(project, graph["graph"]))
    return figures
