"""`workbench demo`: the whole path on the embedded model, and its closing report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from store.errors import BadInput
from tasks.command_line import command_line, project_words
from workbench import VERSION
from workbench.cli.output import emit_json, emit_view, narrate, stdout_console
from workbench.cli.progress import terminal_progress
from workbench.cli.task_command import stop_on_signal
from workbench.figures import draw_graph

if TYPE_CHECKING:
    from rich.console import RenderableType

    from store.project import Project
    from tasks.demo import Done

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_TREES = {"validate neurons": "trace neurons", "validate SAEs": "trace SAEs"}


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(help="The demo's project.", metavar="DIR")] = Path("demo"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """The whole path on the embedded model, from nothing to a validated circuit.

    Stop it with Ctrl-C and run it again: it continues where it stopped.
    """
    from tasks.context import Context
    from tasks.demo import demo_steps, run_steps

    started = time.monotonic()
    with _demo_project(directory) as project:
        with terminal_progress() as progress, stop_on_signal() as cancelled:
            done = list(run_steps(demo_steps(directory), Context(project, progress, cancelled, draw=draw_graph)))
        elapsed_s = time.monotonic() - started
        if json:
            steps = [
                {"step": each.step.name, "command": step_command(each, directory), **each.document} for each in done
            ]
            emit_json({"project": str(directory), "seconds": elapsed_s, "steps": steps})
        else:
            emit_view(_report(done, project, directory, elapsed_s))
    if not done[-1].document["verified"]:
        raise typer.Exit(1)


def _demo_project(directory: Path) -> Project:
    """The demo's project, open for writing: the one that is there, or a new one on the embedded model."""
    from store.location import DATABASE_NAME
    from store.project import Project
    from tasks.demo import EMBEDDED

    if not (directory / DATABASE_NAME).exists():
        from tasks.model.sources import describe_model, load_model

        narrate(f"a new project in {directory} on {EMBEDDED}")
        return Project.create(directory, describe_model(load_model(EMBEDDED, narrate=narrate)), VERSION)
    project = Project.open(directory, write=True)
    if project.model.spec != EMBEDDED:
        project.close()
        raise BadInput(f"the project in {directory} is on {project.model.spec}", "give the demo a directory of its own")
    return project


def _report(done: Sequence[Done], project: Project, directory: Path, elapsed_s: float) -> RenderableType:
    from workbench.tui.render.bars import duration
    from workbench.tui.render.demo_report import section
    from workbench.tui.render.report import report_view

    documents = {each.step.name: each.document for each in done}
    sections = []
    for each in done:
        traced = documents.get(_TREES.get(each.step.name, ""))
        views = [] if traced is None else [_tree(project, traced["graph"])]
        title = f"{each.step.name}: {each.step.title}"
        sections.append(section(each.step.kind, title, step_command(each, directory), each.document, views))
    closing = (f"this run took {duration(elapsed_s)}", f"read on: workbench --project {directory} graph list")
    return report_view(
        f"workbench demo: {project.model.spec}, project {directory}", sections, closing, stdout_console().width
    )


def _tree(project: Project, graph: int) -> RenderableType:
    from tasks.graphs.view import load_graph_view
    from workbench.tui.render.graph_tree import graph_tree
    from workbench.tui.render.tree_lines import TreeLimits

    return graph_tree(load_graph_view(project, graph), TreeLimits(depth=2, width=6), stdout_console().width - 3)


def step_command(done: Done, directory: Path) -> str:
    """The command that does the step again."""
    if done.params is None:
        return project_words(directory, done.words)
    return command_line(done.step.kind, done.params, directory)
