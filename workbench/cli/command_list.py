"""Which commands there are. Each loads only when it is called, so that `--help` costs no more than its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from tasks.registry import TASKS, Task

COMMANDS: dict[str, str] = {
    "open": "The app: baselines, features, graphs, interventions and jobs in one terminal. Also without a command.",
    "demo": "The whole path on the embedded model, from nothing to a validated circuit, with a closing report.",
    "init": "Make a project on a model.",
    "doctor": "Device, memory, versions, model cache: what works here, and what would not and why.",
    **{task.kind: task.summary for task in TASKS.values() if not task.group},
    "baselines": "List behaviours and prompts with what was measured of them, and show one prompt.",
    "features": "Search the features of trained dictionaries, and show one.",
    "dictionaries": "List, show, import, export and remove dictionary sets.",
    "interventions": "What interventions measured: a list, and each again as it was printed.",
    "graph": "List, show, shape, compare and export attribution graphs.",
    "plan": "What training on a model will take: memory, disk, FLOPs, hours; nothing is loaded.",
    "script": "The session of this project as a Python program or a notebook.",
    "reproduction": "The last reproduction again, or its report: Markdown, or one page that works offline.",
    "verify": "Check a pack: every hash, and that its numbers come out again.",
    "unpack": "Open a pack into a directory.",
    "worker": "The background process that keeps the model loaded and runs queued jobs.",
    "findings": "The numbers that were kept in the app, each with where it comes from.",
    "jobs": "What was run in this project, how it ended; cancel a job, or run it again.",
}
"""Every command and what it does, in the order of `--help`."""


@dataclass
class _Named:
    """As much of a command as the list of commands prints, and how the command itself is loaded."""

    name: str
    summary: str
    load: Callable[[], Any]
    hidden: bool = False

    def get_short_help_str(self, limit: int = 45) -> str:
        return self.summary


class _LazyGroup(TyperGroup):
    """A group of which some commands are only names until they are called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` call, loaded, and the arguments left for it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, _Named) else command, rest


class CommandList(_LazyGroup):
    """The group behind `workbench`: the list prints from the table above, a call loads the one command it names."""

    def __init__(self, **attributes: Any) -> None:
        """Take the commands of the table, in its order."""
        super().__init__(**attributes)
        self.commands: Any = {
            name: _Named(name, summary, partial(load_command, name)) for name, summary in COMMANDS.items()
        }

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the table's order."""
        return list(self.commands)


class TaskGroup(_LazyGroup):
    """The group behind `workbench GROUP`: commands of its own and the tasks of that group."""

    group = ""

    def __init__(self, **attributes: Any) -> None:
        """Add the tasks, by name, to the commands that the modules define; one that is defined goes before its task."""
        super().__init__(**attributes)
        tasks = {task.words[-1]: task for task in TASKS.values() if task.group == self.group}
        named = {name: _Named(name, task.summary, partial(_task_command, task)) for name, task in tasks.items()}
        self.commands: Any = self.commands | {name: task for name, task in named.items() if name not in self.commands}

    def list_commands(self, ctx: Any) -> list[str]:
        """The module's commands as they are defined, then the tasks as the registry has them."""
        return list(self.commands)


class GraphCommands(TaskGroup):
    """The group behind `workbench graph`."""

    group = "graph"


class FeatureCommands(TaskGroup):
    """The group behind `workbench features`."""

    group = "features"


class DictionaryCommands(TaskGroup):
    """The group behind `workbench dictionaries`."""

    group = "dictionaries"


def load_command(name: str) -> Any:
    """The command of that name: made from a task's params, or from the module of that name beside this one."""
    if name in TASKS and not TASKS[name].group:
        return _task_command(TASKS[name])
    command = typer.main.get_command(import_module(f"workbench.cli.{name}").app)
    command.name = name
    return command


def _task_command(task: Task) -> Any:
    from workbench.cli.task_command import task_app

    return typer.main.get_command(task_app(task))
