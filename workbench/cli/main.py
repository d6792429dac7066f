"""The entry point: global options, and the one edge where every error becomes a line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from store.errors import WorkbenchError
from workbench import VERSION
from workbench.cli.command_list import CommandList
from workbench.cli.invocation import Invocation
from workbench.cli.open import open_meant
from workbench.tui.launch import is_terminal
from workbench.tui.render.tokens import show_text

app = typer.Typer(cls=CommandList, add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def workbench(
    ctx: typer.Context,
    project: Annotated[
        Path | None,
        typer.Option(
            help="The project. Without it: $WORKBENCH_PROJECT, or the nearest project.db upward.", metavar="DIR"
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """From a prompt to a validated circuit in an open language model.

    A project holds one model and everything measured on it: `workbench demo` makes one and goes the whole way,
    `workbench init` makes an empty one.
    """
    ctx.obj = Invocation(project)
    if version:
        typer.echo(VERSION)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        if is_terminal():
            raise typer.Exit(open_meant(ctx))
        typer.echo(ctx.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; whatever goes wrong is one line on stderr."""
    try:
        outcome = typer.main.get_command(app).main(list(arguments), prog_name="workbench", standalone_mode=False)
    except WorkbenchError as error:
        return _say(str(error), error.exit_code)
    except typer.TyperException as error:
        return _say(f"{error.format_message().rstrip('.')}; --help lists what there is", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the command line's edge: logged with its traceback, shown as a line
        return _say(f"{type(error).__name__}: {error} (a fault of the workbench; details: {_logged(error)})", 1)
    return outcome if isinstance(outcome, int) else 0


def main() -> NoReturn:
    """Run this process's command line. What the hub's client could not fetch is said by us, in one line."""
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    sys.exit(run(sys.argv[1:]))


def _say(line: str, exit_code: int) -> int:
    print(f"workbench: {show_text(line)}", file=sys.stderr)
    return exit_code


def _logged(error: Exception) -> Path:
    """Write the traceback to a file of its own and return where."""
    descriptor, name = tempfile.mkstemp(prefix="workbench-", suffix=".log")
    os.close(descriptor)
    logger = logging.getLogger("workbench")
    handler = logging.FileHandler(name, encoding="utf-8", errors="backslashreplace")
    logger.addHandler(handler)
    logger.propagate = False
    logger.error("workbench %s: %s", VERSION, " ".join(sys.argv[1:]), exc_info=error)
    logger.removeHandler(handler)
    handler.close()
    return Path(name)
